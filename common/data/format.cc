#include "common/data/format.h"

namespace penstock {
namespace {

struct NamedFormat {
  const char* name;
  v1::Dataset::Format format;
};

constexpr NamedFormat kFormats[] = {
    {"text", v1::Dataset::FORMAT_TEXT},
    {"tokens", v1::Dataset::FORMAT_TOKENS},
    {"megatron", v1::Dataset::FORMAT_MEGATRON},
    {"csv", v1::Dataset::FORMAT_CSV},
    {"mnist", v1::Dataset::FORMAT_MNIST},
    {"cifar10", v1::Dataset::FORMAT_CIFAR10},
    {"safetensors", v1::Dataset::FORMAT_SAFETENSORS},
};

}  // namespace

bool HasTokens(v1::Dataset::Format format) {
  return format == v1::Dataset::FORMAT_TEXT || format == v1::Dataset::FORMAT_TOKENS ||
         format == v1::Dataset::FORMAT_MEGATRON;
}

bool HasImages(v1::Dataset::Format format) {
  return format == v1::Dataset::FORMAT_MNIST || format == v1::Dataset::FORMAT_CIFAR10;
}

std::string FormatName(v1::Dataset::Format format) {
  for (const NamedFormat& known : kFormats) {
    if (known.format == format) return known.name;
  }
  return "";
}

v1::Dataset::Format FormatNamed(absl::string_view name) {
  for (const NamedFormat& known : kFormats) {
    if (name == known.name) return known.format;
  }
  return v1::Dataset::FORMAT_UNSPECIFIED;
}

std::vector<std::string> FormatNames() {
  std::vector<std::string> names;
  for (const NamedFormat& known : kFormats) names.push_back(known.name);
  return names;
}

}  // namespace penstock

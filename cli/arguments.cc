#include "cli/arguments.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "cli/standard_address.h"
#include "spec/cluster_spec.h"

namespace penstock {

void AddAddress(CLI::App* command, std::string* address) {
  *address = StandardAddress();
  command->add_option("--addr", *address, "The coordinator's address, else PENSTOCK_ADDR")->capture_default_str();
}

CLI::Option* AddTarget(CLI::App* command, const std::string& name, const std::string& help, std::string* target) {
  const auto not_empty = [](const std::string& text) { return std::string(text.empty() ? "is empty" : ""); };
  return command->add_option(name, *target, help)->check(CLI::Validator(not_empty, "", "not empty"));
}

CLI::Option* AddJob(CLI::App* command, std::string* job) {
  return AddTarget(command, "JOB", "Name, id, unique prefix, or @last", job);
}

void AddFormat(CLI::App* command, const std::vector<std::string>& formats, std::string* format) {
  *format = formats.front();
  command->add_option("-o,--output", *format, "Output format")->check(CLI::IsMember(formats))->capture_default_str();
}

void AddDevices(CLI::App* command, const std::string& help, std::vector<std::string>* devices) {
  const auto is_device = [](const std::string& text) {
    return IsDevice(text) ? std::string() : absl::StrCat("'", text, "' is not a device: cpu, or cuda:N");
  };
  command->add_option("--devices", *devices, help)
      ->check(CLI::Validator(is_device, "", "device"))
      ->delimiter(',')
      ->type_name("DEVICE,...");
}

void AddOverrides(CLI::App* command, std::vector<std::string>* overrides) {
  command->add_option("--set", *overrides, "key=value: replaces a key of the file, and is checked like it (repeatable)")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
}

absl::StatusOr<uint64_t> ParseBytes(const std::string& text) {
  absl::string_view rest = text;
  double factor = 1;
  const std::pair<const char*, double> units[] = {
      {"KiB", std::pow(2, 10)}, {"MiB", std::pow(2, 20)}, {"GiB", std::pow(2, 30)}, {"TiB", std::pow(2, 40)}, {"B", 1}};
  for (const auto& [unit, bytes] : units) {
    if (absl::ConsumeSuffix(&rest, unit)) {
      factor = bytes;
      break;
    }
  }
  double value = 0;
  if (!absl::SimpleAtod(rest, &value) || !(value >= 0) || value * factor > 1e18) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is not a size; write 78GiB, 512MiB or a number of bytes"));
  }
  return static_cast<uint64_t>(value * factor);
}

}  // namespace penstock

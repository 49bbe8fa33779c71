// The formats of training data by name, and what they have in common. Pure.
// Source: docs/training.md, "Batches".
#ifndef PENSTOCK_COMMON_DATA_FORMAT_H_
#define PENSTOCK_COMMON_DATA_FORMAT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/job.pb.h"

namespace penstock {

// Whether samples are sequences of tokens: text, tokens, megatron.
bool HasTokens(v1::Dataset::Format format);

// Whether samples are images of bytes, each with a class: mnist, cifar10.
bool HasImages(v1::Dataset::Format format);

// "cifar10"; empty for FORMAT_UNSPECIFIED.
std::string FormatName(v1::Dataset::Format format);
// FORMAT_UNSPECIFIED for a name that is none.
v1::Dataset::Format FormatNamed(absl::string_view name);
// All of them, in the order in which the manual has them.
std::vector<std::string> FormatNames();

}  // namespace penstock

#endif  // PENSTOCK_COMMON_DATA_FORMAT_H_

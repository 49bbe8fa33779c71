// JSON from a file that nobody vouches for: no name twice in an object, bounded depth, no exceptions. Pure.
#ifndef PENSTOCK_COMMON_CHECKPOINT_STRICT_JSON_H_
#define PENSTOCK_COMMON_CHECKPOINT_STRICT_JSON_H_

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace penstock {

// Args:    max_depth: objects and arrays inside each other; 1 allows a flat object.
// Errors:  DataLoss: not JSON, not UTF-8, a name twice, deeper than max_depth; says at which byte.
absl::StatusOr<nlohmann::json> ParseStrictJson(absl::string_view text, int max_depth);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CHECKPOINT_STRICT_JSON_H_

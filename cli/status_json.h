// What `-o json` prints: one JSON value, indented, with a final newline. Pure.
// Numbers that JSON cannot write (NaN, infinity) are null; bytes that are not UTF-8 become U+FFFD.
#ifndef PENSTOCK_CLI_STATUS_JSON_H_
#define PENSTOCK_CLI_STATUS_JSON_H_

#include <string>
#include <vector>

#include "common/checkpoint/checkpoint_dir.h"
#include "common/checkpoint/manifest.h"
#include "proto/coordinator.pb.h"

namespace penstock {

// {"job", "name", "state", "reason", "step", "steps", "loss", ..., "stages": [...]}
std::string JobJson(const v1::JobStatus& job);

// {"name", "version", "address", "http_address", "pid", "state_dir", "workers": [...], "jobs": [...]}
std::string ClusterJson(const v1::ClusterStatus& cluster);

// [{"id", "state", ...}]
std::string WorkersJson(const v1::ClusterStatus& cluster);

// [{"step", "path", "sha256", "bytes", "ok", "error"}]
std::string CheckpointsJson(const std::vector<CheckpointEntry>& checkpoints);

// {"step", "sha256", "tensors": {name: sha256}}
std::string HashJson(const Manifest& manifest);

// {"job", "state", "step", "loss", "sha256", "checkpoint", "summary", "sample"}: how `run` and `submit` end.
std::string EndJson(const v1::JobStatus& job);

// {"text", "tokens": [...]}
std::string GeneratedJson(const std::string& text, const std::vector<int64_t>& tokens);

// {"name": value, ...}, texts only; for small answers.
std::string FactsJson(const std::vector<std::pair<std::string, std::string>>& facts);

}  // namespace penstock

#endif  // PENSTOCK_CLI_STATUS_JSON_H_

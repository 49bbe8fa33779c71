#include "spec/job_sections.h"

#include <cstdint>
#include <filesystem>

#include "spec/version_keys.h"

namespace penstock {
namespace {

// What fits the specs' fields; the sense of a value is checked elsewhere.
constexpr int64_t kMaxUint32 = UINT32_MAX;

}  // namespace

std::string AbsolutePath(const std::string& folder, const std::string& path) {
  if (path.empty()) return path;
  return (std::filesystem::path(folder) / path).lexically_normal().string();
}

v1::Eval ReadEvalSection(YamlMapping section, YamlErrors*) {
  v1::Eval eval;
  eval.set_every(static_cast<uint64_t>(section.Integer("every", 0).value_or(0)));
  eval.set_batches(static_cast<uint32_t>(section.Integer("batches", 0, kMaxUint32).value_or(50)));
  YamlMapping sample = section.Mapping("sample");
  sample.Require({"prompt", "tokens"});
  if (sample.present()) {
    v1::Sample* wanted = eval.mutable_sample();
    wanted->set_prompt(sample.Text("prompt").value_or(""));
    wanted->set_tokens(static_cast<uint32_t>(sample.Integer("tokens", 0, kMaxUint32).value_or(0)));
    wanted->set_temperature(sample.Number("temperature").value_or(1));
    wanted->set_top_k(static_cast<uint32_t>(sample.Integer("top_k", 0, kMaxUint32).value_or(0)));
  }
  sample.Finish();
  section.Finish();
  return eval;
}

v1::Checkpoint ReadCheckpointSection(YamlMapping section, const std::string& folder, YamlErrors*) {
  v1::Checkpoint checkpoint;
  checkpoint.set_dir(AbsolutePath(folder, section.Text("dir").value_or("")));
  checkpoint.set_every(static_cast<uint64_t>(section.Integer("every", 0).value_or(0)));
  checkpoint.set_keep(static_cast<uint32_t>(section.Integer("keep", 0, kMaxUint32).value_or(3)));
  section.Finish();
  return checkpoint;
}

v1::Log ReadLogSection(YamlMapping section, YamlErrors* errors) {
  v1::Log log;
  log.set_every(static_cast<uint64_t>(section.Integer("every", 0).value_or(10)));
  log.set_hash(section.Flag("hash").value_or(false));
  OnlyNeutral(&section, "tensorboard", "false", "TensorBoard files (metrics.jsonl has every figure)", errors);
  section.Finish();
  return log;
}

v1::Transport ReadTransportSection(YamlMapping section) {
  v1::Transport transport;
  transport.set_tcp_only(!section.Flag("shared_memory").value_or(true));
  section.Finish();
  return transport;
}

}  // namespace penstock

#include "cli/status_json.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "cli/job_view.h"
#include "cli/progress.h"

namespace penstock {
namespace {

using Json = nlohmann::ordered_json;

std::string Print(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

Json StageObject(const v1::StageStatus& stage) {
  return {{"stage", stage.stage()},
          {"rank", stage.rank()},
          {"worker", stage.worker()},
          {"layers", stage.layers()},
          {"parameters", stage.parameters()},
          {"parameter_bytes", stage.parameter_bytes()},
          {"frames_sent", stage.frames_sent()},
          {"frames_received", stage.frames_received()},
          {"bytes_sent", stage.bytes_sent()},
          {"bytes_received", stage.bytes_received()},
          {"shared_bytes_sent", stage.shared_bytes_sent()},
          {"busy", stage.busy()},
          {"peak_allocated_bytes", stage.peak_allocated_bytes()}};
}

Json JobObject(const v1::JobStatus& job) {
  Json json = {{"job", job.job()},
               {"name", job.name()},
               {"state", StateText(job.state())},
               {"reason", job.reason()},
               {"step", job.step()},
               {"steps", job.steps()},
               {"loss", job.loss()},
               {"lr", job.lr()},
               {"grad_norm", job.grad_norm()},
               {"tokens_per_second", job.tokens_per_second()},
               {"unit", job.unit()},
               {"bubble", job.bubble()},
               {"step_seconds", job.step_seconds()},
               {"eta_seconds", job.eta_seconds()}};
  if (!HasFigures(job)) json["loss"] = nullptr;  // none yet
  if (job.loss_scale() != 0) {
    json["loss_scale"] = job.loss_scale();
    json["skipped_steps"] = job.skipped_steps();
  }
  if (job.eval().targets() > 0) {
    json["eval"] = {{"step", job.eval().step()}, {"loss", job.eval().loss()}, {"accuracy", job.eval().accuracy()}};
  }
  json["checkpoint"] = job.checkpoint();
  json["sha256"] = job.sha256();
  if (!job.resumed_from().empty()) {
    json["resumed"] = {{"step", job.resumed_step()}, {"checkpoint", job.resumed_from()}};
  }
  json["run_dir"] = job.run_dir();
  json["submitted_unix_ms"] = job.submitted_unix_ms();
  json["ended_unix_ms"] = job.ended_unix_ms();
  json["failure"] = std::vector<std::string>(job.failure().begin(), job.failure().end());
  json["stages"] = Json::array();
  for (const v1::StageStatus& stage : job.stages()) json["stages"].push_back(StageObject(stage));
  return json;
}

Json WorkerObject(const v1::WorkerStatus& worker) {
  return {{"id", worker.id()},
          {"state", worker.state()},
          {"reason", worker.reason()},
          {"incarnation", worker.incarnation()},
          {"host", worker.host()},
          {"pid", worker.pid()},
          {"device", worker.device()},
          {"address", worker.address()},
          {"memory_bytes", worker.memory_bytes()},
          {"resident_bytes", worker.resident_bytes()},
          {"job", worker.job()},
          {"heartbeat_age_seconds", worker.heartbeat_age_seconds()},
          {"self_test", worker.self_test()},
          {"fingerprint", worker.fingerprint()},
          {"version", worker.version()}};
}

Json WorkerArray(const v1::ClusterStatus& cluster) {
  Json array = Json::array();
  for (const v1::WorkerStatus& worker : cluster.workers()) array.push_back(WorkerObject(worker));
  return array;
}

}  // namespace

std::string JobJson(const v1::JobStatus& job) { return Print(JobObject(job)); }

std::string ClusterJson(const v1::ClusterStatus& cluster) {
  Json json = {{"name", cluster.name()},
               {"version", cluster.version()},
               {"address", cluster.address()},
               {"http_address", cluster.http_address()},
               {"pid", cluster.pid()},
               {"state_dir", cluster.state_dir()},
               {"started_unix_ms", cluster.started_unix_ms()},
               {"workers", WorkerArray(cluster)},
               {"jobs", Json::array()}};
  for (const v1::JobStatus& job : cluster.jobs()) json["jobs"].push_back(JobObject(job));
  return Print(json);
}

std::string WorkersJson(const v1::ClusterStatus& cluster) { return Print(WorkerArray(cluster)); }

std::string CheckpointsJson(const std::vector<CheckpointEntry>& checkpoints) {
  Json array = Json::array();
  for (const CheckpointEntry& entry : checkpoints) {
    Json json = {{"step", entry.info.step()},
                 {"path", entry.info.path()},
                 {"sha256", entry.info.sha256()},
                 {"bytes", entry.info.bytes()},
                 {"ok", entry.status.ok()}};
    if (!entry.status.ok()) json["error"] = std::string(entry.status.message());
    array.push_back(std::move(json));
  }
  return Print(array);
}

std::string HashJson(const Manifest& manifest) {
  std::map<std::string, std::string> tensors;
  for (const CheckpointFile& file : manifest.files) {
    for (const v1::TensorHash& tensor : file.tensors) tensors[tensor.name()] = tensor.sha256();
  }
  return Print({{"step", manifest.step}, {"sha256", manifest.sha256}, {"tensors", tensors}});
}

std::string EndJson(const v1::JobStatus& job) {
  Json json = {{"job", job.job()},
               {"state", StateText(job.state())},
               {"reason", job.reason()},
               {"step", job.step()},
               {"loss", job.loss()},
               {"sha256", job.sha256()},
               {"checkpoint", job.checkpoint()},
               {"summary", job.run_dir() + "/summary.json"}};
  if (!HasFigures(job)) json["loss"] = nullptr;
  if (!job.sample().empty()) json["sample"] = job.sample();
  return Print(json);
}

std::string GeneratedJson(const std::string& text, const std::vector<int64_t>& tokens) {
  return Print({{"text", text}, {"tokens", tokens}});
}

std::string FactsJson(const std::vector<std::pair<std::string, std::string>>& facts) {
  Json json = Json::object();
  for (const auto& [name, value] : facts) json[name] = value;
  return Print(json);
}

}  // namespace penstock

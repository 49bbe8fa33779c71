#include "spec/job_sections.h"

#include <cstdint>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "spec/version_keys.h"

namespace penstock {
namespace {

// What fits the specs' fields; the sense of a value is checked elsewhere.
constexpr int64_t kMaxUint32 = UINT32_MAX;

void ReadOptimizer(YamlMapping section, YamlErrors* errors, v1::Optimizer* optimizer) {
  section.Require({"name"});
  const std::string name = section.Choice("name", {"sgd", "adam", "adamw"}).value_or("adamw");
  const bool known = errors->Sound(section.PathOf("name"));  // of an unknown one, any key may be meant
  optimizer->set_name(name == "sgd" ? v1::Optimizer::SGD : name == "adam" ? v1::Optimizer::ADAM : v1::Optimizer::ADAMW);
  // Defaults are PyTorch's own.
  optimizer->set_lr(section.Number("lr").value_or(1e-3));
  optimizer->set_weight_decay(section.Number("weight_decay").value_or(name == "adamw" ? 0.01 : 0));
  if (name == "sgd" || !known) {
    optimizer->set_momentum(section.Number("momentum").value_or(0));
  } else {
    section.Refuse("momentum", absl::StrCat("'momentum' belongs to sgd; ", name, " has 'betas'"));
  }
  if (name != "sgd" || !known) {
    const std::vector<double> betas = section.Numbers("betas").value_or(std::vector<double>{0.9, 0.999});
    if (betas.size() == 2) {
      optimizer->set_beta1(betas[0]);
      optimizer->set_beta2(betas[1]);
    } else {
      errors->Add(*section.Find("betas"), section.PathOf("betas"),
                  absl::StrCat(section.PathOf("betas"), ": expected two numbers, found ", betas.size()));
    }
    optimizer->set_eps(section.Number("eps").value_or(1e-8));
  } else {
    section.Refuse("betas", "'betas' belongs to adam and adamw; sgd has 'momentum'");
    section.Refuse("eps", "'eps' belongs to adam and adamw");
  }
  section.Finish();
}

void ReadLrSchedule(YamlMapping section, v1::LrSchedule* schedule) {
  section.Require({"name"});
  const std::string name = section.Choice("name", {"constant", "linear", "cosine"}).value_or("constant");
  schedule->set_name(name == "linear"   ? v1::LrSchedule::LINEAR
                     : name == "cosine" ? v1::LrSchedule::COSINE
                                        : v1::LrSchedule::CONSTANT);
  schedule->set_warmup_steps(static_cast<uint64_t>(section.Integer("warmup_steps", 0).value_or(0)));
  schedule->set_min_lr(section.Number("min_lr").value_or(0));
  section.Finish();
}

}  // namespace

std::string AbsolutePath(const std::string& folder, const std::string& path) {
  if (path.empty()) return path;
  return (std::filesystem::path(folder) / path).lexically_normal().string();
}

v1::Train ReadTrainSection(YamlMapping section, YamlErrors* errors) {
  v1::Train train;
  section.Require({"steps", "batch_size"});
  train.set_steps(static_cast<uint64_t>(section.Integer("steps", 0).value_or(0)));
  train.set_batch_size(static_cast<uint32_t>(section.Integer("batch_size", 0, kMaxUint32).value_or(0)));
  train.set_threads(1);
  OnlyNeutral(&section, "threads", "1", "several threads in one worker (start more workers)", errors);
  train.set_precision(ChoiceOfVersion(&section, "precision", {"fp32"}, {"bf16", "fp16"}, errors).value_or("fp32"));
  train.set_grad_clip(section.Number("grad_clip").value_or(0));
  train.set_seed(static_cast<uint64_t>(section.Integer("seed", 0).value_or(1)));
  ReadOptimizer(section.Mapping("optimizer"), errors, train.mutable_optimizer());
  ReadLrSchedule(section.Mapping("lr_schedule"), train.mutable_lr_schedule());
  section.Finish();
  return train;
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

#include "spec/train_section.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/loss_scale.h"
#include "model/precision.h"
#include "spec/version_keys.h"

namespace penstock {
namespace {

// What fits the specs' fields; the sense of a value is checked elsewhere.
constexpr int64_t kMaxUint32 = UINT32_MAX;

using Optimizer = v1::Optimizer;
using LrSchedule = v1::LrSchedule;

// Which optimizers have a key, and the same for people.
struct KeyOwners {
  const char* key;
  std::vector<Optimizer::Name> owners;
  const char* text;
};
const std::vector<KeyOwners>& OptimizerKeys() {
  static const std::vector<KeyOwners>* const keys = new std::vector<KeyOwners>{
      {"momentum", {Optimizer::SGD, Optimizer::RMSPROP}, "sgd and rmsprop"},
      {"betas", {Optimizer::ADAM, Optimizer::ADAMW, Optimizer::LION}, "adam, adamw and lion"},
      {"eps", {Optimizer::ADAM, Optimizer::ADAMW, Optimizer::RMSPROP}, "adam, adamw and rmsprop"},
      {"alpha", {Optimizer::RMSPROP}, "rmsprop"},
      {"rule", {Optimizer::RMSPROP}, "rmsprop"},
  };
  return *keys;
}

bool Has(Optimizer::Name name, absl::string_view key) {
  for (const KeyOwners& entry : OptimizerKeys()) {
    if (entry.key == key) return std::find(entry.owners.begin(), entry.owners.end(), name) != entry.owners.end();
  }
  return true;
}

// Names in files are the enum's in lower case.
std::string NameOf(Optimizer::Name name) { return absl::AsciiStrToLower(Optimizer::Name_Name(name)); }
std::string NameOf(LrSchedule::Name name) { return absl::AsciiStrToLower(LrSchedule::Name_Name(name)); }

// Defaults are those of the paper or the library that training.md names.
double DefaultLr(Optimizer::Name name) {
  switch (name) {
    case Optimizer::LION:
      return 1e-4;
    case Optimizer::RMSPROP:
      return 1e-2;
    default:
      return 1e-3;
  }
}

void ReadBetas(YamlMapping* section, Optimizer::Name name, YamlErrors* errors, v1::Optimizer* optimizer) {
  const std::vector<double> defaults = {0.9, name == Optimizer::LION ? 0.99 : 0.999};
  const std::vector<double> betas = section->Numbers("betas").value_or(defaults);
  if (betas.size() == 2) {
    optimizer->set_beta1(betas[0]);
    optimizer->set_beta2(betas[1]);
    return;
  }
  errors->Add(*section->Find("betas"), section->PathOf("betas"),
              absl::StrCat(section->PathOf("betas"), ": expected two numbers, found ", betas.size()));
}

void ReadGroups(YamlMapping* section, YamlErrors* errors, v1::Optimizer* optimizer) {
  const std::vector<YamlNode>* nodes = section->Sequence("groups");
  if (nodes == nullptr) return;
  for (size_t i = 0; i < nodes->size(); ++i) {
    YamlMapping keys(&(*nodes)[i], absl::StrCat(section->PathOf("groups"), ".", i), errors);
    v1::ParameterGroup* group = optimizer->add_groups();
    keys.Require({"match"});
    group->set_match(keys.Text("match").value_or(""));
    if (const auto lr = keys.Number("lr")) group->set_lr(*lr);
    if (group->has_lr()) keys.Refuse("lr_factor", "'lr_factor' stands beside 'lr': a group has one of them");
    if (const auto factor = keys.Number("lr_factor")) group->set_lr_factor(*factor);
    if (const auto decay = keys.Number("weight_decay")) group->set_weight_decay(*decay);
    keys.Finish();
  }
}

void ReadOptimizer(YamlMapping section, YamlErrors* errors, v1::Optimizer* optimizer) {
  section.Require({"name"});
  const std::string text = section.Choice("name", {"sgd", "adam", "adamw", "rmsprop", "lion"}).value_or("adamw");
  const bool known = errors->Sound(section.PathOf("name"));  // of an unknown one, any key may be meant
  Optimizer::Name name = Optimizer::ADAMW;
  Optimizer::Name_Parse(absl::AsciiStrToUpper(text), &name);
  optimizer->set_name(name);
  optimizer->set_lr(section.Number("lr").value_or(DefaultLr(name)));
  optimizer->set_weight_decay(section.Number("weight_decay").value_or(name == Optimizer::ADAMW ? 0.01 : 0));
  for (const KeyOwners& entry : OptimizerKeys()) {
    if (known && !Has(name, entry.key)) {
      section.Refuse(entry.key, absl::StrCat("'", entry.key, "' belongs to ", entry.text));
    }
  }
  const auto reads = [&](absl::string_view key) { return !known || Has(name, key); };
  if (reads("rule")) {
    optimizer->set_tensorflow(section.Choice("rule", {"pytorch", "tensorflow"}).value_or("pytorch") == "tensorflow");
  }
  const bool tensorflow = optimizer->tensorflow();
  if (reads("momentum")) optimizer->set_momentum(section.Number("momentum").value_or(0));
  if (reads("betas")) ReadBetas(&section, name, errors, optimizer);
  if (reads("alpha")) optimizer->set_alpha(section.Number("alpha").value_or(tensorflow ? 0.9 : 0.99));
  if (reads("eps")) optimizer->set_eps(section.Number("eps").value_or(tensorflow ? 1e-10 : 1e-8));
  ReadGroups(&section, errors, optimizer);
  section.Finish();
}

// Reads a key that belongs to one schedule, or refuses it.
bool Belongs(YamlMapping* section, absl::string_view key, const std::string& name, const std::string& owner) {
  if (name == owner) return true;
  section->Refuse(key, absl::StrCat("'", key, "' belongs to ", owner));
  return false;
}

void ReadLrSchedule(YamlMapping section, YamlErrors* errors, v1::LrSchedule* schedule) {
  section.Require({"name"});
  const std::string text =
      section.Choice("name", {"constant", "linear", "cosine", "step", "polynomial", "wsd"}).value_or("constant");
  LrSchedule::Name name = LrSchedule::CONSTANT;
  LrSchedule::Name_Parse(absl::AsciiStrToUpper(text), &name);
  schedule->set_name(name);
  schedule->set_warmup_steps(static_cast<uint64_t>(section.Integer("warmup_steps", 0).value_or(0)));
  schedule->set_min_lr(section.Number("min_lr").value_or(0));
  // Of an unknown schedule, any key may be meant.
  const bool known = errors->Sound(section.PathOf("name"));
  const auto reads = [&](absl::string_view key, const std::string& owner) {
    return known ? Belongs(&section, key, text, owner) : section.Has(key);
  };
  if (known && name == LrSchedule::STEP) section.Require({"step_size"});
  if (known && name == LrSchedule::WSD) section.Require({"decay_steps"});
  if (reads("step_size", "step")) {
    schedule->set_step_size(static_cast<uint64_t>(section.Integer("step_size", 0).value_or(0)));
  }
  if (reads("gamma", "step")) schedule->set_gamma(section.Number("gamma").value_or(0.1));
  if (reads("power", "polynomial")) schedule->set_power(section.Number("power").value_or(1));
  if (reads("decay_steps", "wsd")) {
    schedule->set_decay_steps(static_cast<uint64_t>(section.Integer("decay_steps", 0).value_or(0)));
  }
  if (reads("decay", "wsd")) {
    const std::string decay = section.Choice("decay", {"linear", "cosine", "sqrt"}).value_or("linear");
    schedule->set_decay(decay == "cosine" ? LrSchedule::DECAY_COSINE
                        : decay == "sqrt" ? LrSchedule::DECAY_SQRT
                                          : LrSchedule::DECAY_LINEAR);
  }
  section.Finish();
}

void ReadPrecision(YamlMapping* section, YamlErrors* errors, v1::Train* train, v1::Model* model) {
  train->set_precision(section->Choice("precision", {"fp32", "bf16", "fp16"}).value_or("fp32"));
  model->set_compute(ComputeOf(train->precision()).value_or(v1::DTYPE_UNSPECIFIED));
  const bool known = errors->Sound(section->PathOf("precision"));
  if (known && !ScalesLoss(*train)) return section->Refuse("loss_scale", "'loss_scale' belongs to precision: fp16");
  YamlMapping keys = section->Mapping("loss_scale");
  // torch.amp.GradScaler's.
  train->mutable_loss_scale()->set_initial(keys.Number("initial").value_or(65536));
  train->mutable_loss_scale()->set_growth_interval(
      static_cast<uint64_t>(keys.Integer("growth_interval", 0).value_or(2000)));
  keys.Finish();
}

void ReadFreeze(YamlMapping* section, YamlErrors* errors, v1::Model* model) {
  const std::vector<YamlNode>* nodes = section->Sequence("freeze");
  if (nodes == nullptr) return;
  for (size_t i = 0; i < nodes->size(); ++i) {
    const std::string path = absl::StrCat(section->PathOf("freeze"), ".", i);
    model->add_freeze(ToText((*nodes)[i], path, errors).value_or(""));
  }
}

std::string GroupToYaml(const v1::ParameterGroup& group) {
  std::string text = absl::StrCat("{match: ", YamlText(group.match()));
  if (group.has_lr()) absl::StrAppend(&text, ", lr: ", YamlNumber(group.lr()));
  if (group.has_lr_factor()) absl::StrAppend(&text, ", lr_factor: ", YamlNumber(group.lr_factor()));
  if (group.has_weight_decay()) absl::StrAppend(&text, ", weight_decay: ", YamlNumber(group.weight_decay()));
  return text + "}";
}

std::string OptimizerToYaml(const v1::Optimizer& optimizer) {
  const Optimizer::Name name = optimizer.name();
  std::string text = absl::StrCat("  optimizer: {name: ", NameOf(name), ", lr: ", YamlNumber(optimizer.lr()),
                                  ", weight_decay: ", YamlNumber(optimizer.weight_decay()));
  if (Has(name, "rule")) absl::StrAppend(&text, ", rule: ", optimizer.tensorflow() ? "tensorflow" : "pytorch");
  if (Has(name, "alpha")) absl::StrAppend(&text, ", alpha: ", YamlNumber(optimizer.alpha()));
  if (Has(name, "momentum")) absl::StrAppend(&text, ", momentum: ", YamlNumber(optimizer.momentum()));
  if (Has(name, "betas")) {
    absl::StrAppend(&text, ", betas: [", YamlNumber(optimizer.beta1()), ", ", YamlNumber(optimizer.beta2()), "]");
  }
  if (Has(name, "eps")) absl::StrAppend(&text, ", eps: ", YamlNumber(optimizer.eps()));
  if (!optimizer.groups().empty()) {
    absl::StrAppend(
        &text, ", groups: [",
        absl::StrJoin(optimizer.groups(), ", ", [](std::string* to, const auto& group) { *to += GroupToYaml(group); }),
        "]");
  }
  return text + "}\n";
}

std::string LrScheduleToYaml(const v1::LrSchedule& schedule) {
  std::string text =
      absl::StrCat("  lr_schedule: {name: ", NameOf(schedule.name()), ", warmup_steps: ", schedule.warmup_steps(),
                   ", min_lr: ", YamlNumber(schedule.min_lr()));
  switch (schedule.name()) {
    case LrSchedule::STEP:
      absl::StrAppend(&text, ", step_size: ", schedule.step_size(), ", gamma: ", YamlNumber(schedule.gamma()));
      break;
    case LrSchedule::POLYNOMIAL:
      absl::StrAppend(&text, ", power: ", YamlNumber(schedule.power()));
      break;
    case LrSchedule::WSD:
      absl::StrAppend(&text, ", decay_steps: ", schedule.decay_steps(), ", decay: ",
                      schedule.decay() == LrSchedule::DECAY_COSINE ? "cosine"
                      : schedule.decay() == LrSchedule::DECAY_SQRT ? "sqrt"
                                                                   : "linear");
      break;
    default:
      break;
  }
  return text + "}\n";
}

}  // namespace

v1::Train ReadTrainSection(YamlMapping section, YamlErrors* errors, v1::Model* model) {
  v1::Train train;
  section.Require({"steps", "batch_size"});
  train.set_steps(static_cast<uint64_t>(section.Integer("steps", 0).value_or(0)));
  train.set_batch_size(static_cast<uint32_t>(section.Integer("batch_size", 0, kMaxUint32).value_or(0)));
  train.set_threads(1);
  OnlyNeutral(&section, "threads", "1", "several threads in one worker (start more workers)", errors);
  ReadPrecision(&section, errors, &train, model);
  train.set_grad_clip(section.Number("grad_clip").value_or(0));
  train.set_seed(static_cast<uint64_t>(section.Integer("seed", 0).value_or(1)));
  ReadOptimizer(section.Mapping("optimizer"), errors, train.mutable_optimizer());
  ReadLrSchedule(section.Mapping("lr_schedule"), errors, train.mutable_lr_schedule());
  ReadFreeze(&section, errors, model);
  section.Finish();
  return train;
}

std::string TrainToYaml(const v1::Train& train, const v1::Model& model) {
  std::string text = absl::StrCat("train:\n  steps: ", train.steps(), "\n  batch_size: ", train.batch_size(),
                                  "\n  threads: ", train.threads(), "\n  precision: ", train.precision(),
                                  "\n  grad_clip: ", YamlNumber(train.grad_clip()), "\n  seed: ", train.seed(), "\n");
  if (ScalesLoss(train)) {
    absl::StrAppend(&text, "  loss_scale: {initial: ", YamlNumber(train.loss_scale().initial()),
                    ", growth_interval: ", train.loss_scale().growth_interval(), "}\n");
  }
  absl::StrAppend(&text, OptimizerToYaml(train.optimizer()), LrScheduleToYaml(train.lr_schedule()));
  if (model.freeze().empty()) return text;
  const auto quote = [](std::string* to, const std::string& pattern) { *to += YamlText(pattern); };
  return absl::StrCat(text, "  freeze: [", absl::StrJoin(model.freeze(), ", ", quote), "]\n");
}

}  // namespace penstock

#include "spec/train_check.h"

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/loss_scale.h"
#include "model/name_pattern.h"
#include "model/optimizer_rules.h"
#include "model/precision.h"

namespace penstock {
namespace {

constexpr char kOptimizer[] = "train.optimizer";
constexpr char kSchedule[] = "train.lr_schedule";

// The ranges of a training section: knows how to say what is wrong where.
class TrainCheck {
 public:
  TrainCheck(const v1::JobSpec& spec, const JobPlaces& places, Diagnostics* diagnostics)
      : train_(spec.train()), model_(spec.model()), places_(places), diagnostics_(diagnostics) {}

  void Run() {
    Must(train_.batch_size() >= 1, "train.batch_size", "is 0: it must be at least 1");
    Must(train_.threads() == 1, "train.threads", absl::StrCat("is ", train_.threads(), ": this version has only 1"));
    Precision();
    NotNegative("train.grad_clip", train_.grad_clip());
    Optimizer();
    Groups();
    LrSchedule();
  }

  void Patterns(const ModelInfo& info);

 private:
  // Adds an error unless `good`.
  void Must(bool good, absl::string_view path, absl::string_view message,
            const std::vector<absl::string_view>& beside = {}) {
    if (!good) places_.AddError(path, message, beside, diagnostics_);
  }
  void NotNegative(absl::string_view path, double value) {
    Must(std::isfinite(value) && value >= 0, path, absl::StrCat("is ", value, ": it must be at least 0"));
  }
  void AboveZero(absl::string_view path, double value) {
    Must(std::isfinite(value) && value > 0, path, absl::StrCat("is ", value, ": it must be above 0"));
  }
  void Probability(absl::string_view path, double value) {
    Must(value >= 0 && value < 1, path, absl::StrCat("is ", value, ": it must be at least 0 and below 1"));
  }

  void Precision();
  void Optimizer();
  void Groups();
  void LrSchedule();
  static std::string Group(int index) { return absl::StrCat(kOptimizer, ".groups.", index); }

  const v1::Train& train_;
  const v1::Model& model_;
  const JobPlaces& places_;
  Diagnostics* diagnostics_;
};

void TrainCheck::Precision() {
  const std::optional<v1::DType> compute = ComputeOf(train_.precision());
  Must(compute.has_value(), "train.precision",
       absl::StrCat("is '", train_.precision(), "': there are fp32, bf16 and fp16"));
  Must(!compute.has_value() || *compute == model_.compute(), "train.precision",
       absl::StrCat("is ", train_.precision(), ", but the model computes in ", v1::DType_Name(model_.compute())));
  if (!ScalesLoss(train_)) return;
  const v1::LossScale& scale = train_.loss_scale();
  int exponent = 0;
  const bool power = std::isfinite(scale.initial()) && std::frexp(scale.initial(), &exponent) == 0.5;
  Must(power && scale.initial() >= kLeastLossScale && scale.initial() <= kMostLossScale, "train.loss_scale.initial",
       absl::StrCat("is ", scale.initial(), ": it must be a power of two between ", kLeastLossScale, " and ",
                    static_cast<int64_t>(kMostLossScale)));
  Must(scale.growth_interval() >= 1, "train.loss_scale.growth_interval", "is 0: it must be at least 1");
}

void TrainCheck::Optimizer() {
  const v1::Optimizer& optimizer = train_.optimizer();
  const std::string path = kOptimizer;
  Must(optimizer.name() != v1::Optimizer::NAME_UNSPECIFIED, path + ".name",
       "is missing: sgd, adam, adamw, rmsprop or lion");
  NotNegative(path + ".lr", optimizer.lr());
  NotNegative(path + ".weight_decay", optimizer.weight_decay());
  switch (optimizer.name()) {
    case v1::Optimizer::SGD:
      Probability(path + ".momentum", optimizer.momentum());
      break;
    case v1::Optimizer::RMSPROP:
      Probability(path + ".momentum", optimizer.momentum());
      Probability(path + ".alpha", optimizer.alpha());
      AboveZero(path + ".eps", optimizer.eps());
      break;
    case v1::Optimizer::LION:
      Probability(path + ".betas", optimizer.beta1());
      Probability(path + ".betas", optimizer.beta2());
      break;
    default:
      Probability(path + ".betas", optimizer.beta1());
      Probability(path + ".betas", optimizer.beta2());
      AboveZero(path + ".eps", optimizer.eps());
      break;
  }
}

void TrainCheck::Groups() {
  for (int i = 0; i < train_.optimizer().groups_size(); ++i) {
    const v1::ParameterGroup& group = train_.optimizer().groups(i);
    const std::string path = Group(i);
    Must(!group.match().empty(), path + ".match", "is empty: it must be a pattern of parameters' names");
    if (group.has_lr()) {
      NotNegative(path + ".lr", group.lr());
      Must(train_.optimizer().lr() > 0 || !places_.Sound("train.optimizer.lr"), path + ".lr",
           "stands beside a train.optimizer.lr of 0, which the schedule of every rate is scaled from");
    }
    if (group.has_lr_factor()) NotNegative(path + ".lr_factor", group.lr_factor());
    if (group.has_weight_decay()) NotNegative(path + ".weight_decay", group.weight_decay());
    Must(group.has_lr() || group.has_lr_factor() || group.has_weight_decay(), path,
         "changes nothing: give lr, lr_factor or weight_decay");
  }
}

void TrainCheck::LrSchedule() {
  const v1::LrSchedule& schedule = train_.lr_schedule();
  const std::string path = kSchedule;
  const double lr = train_.optimizer().lr();
  Must(schedule.name() != v1::LrSchedule::NAME_UNSPECIFIED, path + ".name",
       "is missing: constant, linear, cosine, step, polynomial or wsd");
  NotNegative(path + ".min_lr", schedule.min_lr());
  if (schedule.name() == v1::LrSchedule::CONSTANT) {
    Must(schedule.min_lr() == 0, path + ".min_lr", "has no effect on a constant learning rate: leave it out");
  } else if (places_.Sound("train.optimizer.lr")) {
    Must(!(schedule.min_lr() > lr), path + ".min_lr",
         absl::StrCat("is ", schedule.min_lr(), ", above the learning rate ", lr));
  }
  if (schedule.name() == v1::LrSchedule::STEP) {
    Must(schedule.step_size() >= 1, path + ".step_size", "is 0: it must be at least 1");
    Must(schedule.gamma() > 0 && schedule.gamma() <= 1, path + ".gamma",
         absl::StrCat("is ", schedule.gamma(), ": it must be above 0 and at most 1"));
  }
  if (schedule.name() == v1::LrSchedule::POLYNOMIAL) AboveZero(path + ".power", schedule.power());
  if (!places_.Sound("train.steps") || train_.steps() == 0) return;
  const uint64_t steps = train_.steps();
  Must(schedule.warmup_steps() <= steps, path + ".warmup_steps",
       absl::StrCat("is ", schedule.warmup_steps(), ", but the job has only ", steps, " steps"), {"train.steps"});
  if (schedule.name() != v1::LrSchedule::WSD || schedule.warmup_steps() > steps) return;
  Must(schedule.decay_steps() >= 1, path + ".decay_steps", "is 0: it must be at least 1");
  Must(schedule.decay_steps() <= steps - schedule.warmup_steps(), path + ".decay_steps",
       absl::StrCat("is ", schedule.decay_steps(), ", but only ", steps - schedule.warmup_steps(), " of the job's ",
                    steps, " steps come after the warm-up"));
}

void TrainCheck::Patterns(const ModelInfo& info) {
  const v1::Optimizer& optimizer = train_.optimizer();
  std::vector<bool> fits(optimizer.groups_size(), false), takes(optimizer.groups_size(), false);
  std::vector<bool> freezes(model_.freeze_size(), false);
  std::string example;
  bool trains = false;
  for (const LayerInfo& layer : info.layers) {
    for (const ParameterSpec& parameter : layer.parameters) {
      if (example.empty()) example = parameter.name;
      trains = trains || !parameter.frozen;
      for (int i = 0; i < model_.freeze_size(); ++i) {
        freezes[i] = freezes[i] || FitsPattern(model_.freeze(i), parameter.name);
      }
      for (int i = 0; i < optimizer.groups_size(); ++i) {
        fits[i] = fits[i] || FitsPattern(optimizer.groups(i).match(), parameter.name);
      }
      if (const std::optional<int> group = GroupOf(optimizer, parameter.name)) takes[*group] = true;
    }
  }
  const std::string names = absl::StrCat(" of the model, whose names are such as ", example);
  for (int i = 0; i < model_.freeze_size(); ++i) {
    Must(freezes[i], absl::StrCat("train.freeze.", i),
         absl::StrCat("is '", model_.freeze(i), "', which is no parameter", names));
  }
  Must(trains || example.empty(), "train.freeze", "leaves no parameter to train");
  for (int i = 0; i < optimizer.groups_size(); ++i) {
    const std::string& pattern = optimizer.groups(i).match();
    if (pattern.empty()) continue;
    const std::string why =
        fits[i] ? ": groups before it have them already, and the first one that fits counts" : names;
    Must(takes[i], Group(i) + ".match", absl::StrCat("is '", pattern, "', which takes no parameter", why));
  }
}

}  // namespace

void CheckTrainSection(const v1::JobSpec& spec, const JobPlaces& places, Diagnostics* diagnostics) {
  TrainCheck(spec, places, diagnostics).Run();
}

void CheckParameterPatterns(const v1::JobSpec& spec, const ModelInfo& info, const JobPlaces& places,
                            Diagnostics* diagnostics) {
  TrainCheck(spec, places, diagnostics).Patterns(info);
}

}  // namespace penstock

// The training section of job files: what it becomes, and what is wrong with it.
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "spec/job_file.h"
#include "tests/spec/spec_fixture.h"

namespace penstock {
namespace {

class TrainSectionTest : public SpecTest {
 protected:
  static std::string With(const std::string& line) { return absl::StrCat(Job(), "  ", line, "\n"); }
  v1::Train ReadTrain(const std::string& line) {
    const absl::StatusOr<v1::JobSpec> spec = Read(With(line));
    EXPECT_TRUE(spec.ok()) << spec.status();
    return spec.ok() ? spec->train() : v1::Train();
  }
  // The errors of a job with this line in its training section, without their file: "19:14: error: ...".
  std::string Errors(const std::string& line) { return absl::StrReplaceAll(ErrorsOf(With(line)), {{"job.yaml:", ""}}); }

  void ExpectRoundTrip(const std::string& line) {
    const v1::JobSpec first = Read(With(line)).value();
    const absl::StatusOr<v1::JobSpec> second = Read(ToYaml(first));
    ASSERT_TRUE(second.ok()) << second.status() << "\n" << ToYaml(first);
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(first.train(), second->train())) << ToYaml(first);
    EXPECT_EQ(first.model().compute(), second->model().compute());
    EXPECT_EQ(absl::StrJoin(first.model().freeze(), " "), absl::StrJoin(second->model().freeze(), " "));
  }
};

TEST_F(TrainSectionTest, GivesRmspropTheDefaultsOfItsRule) {
  const v1::Optimizer pytorch = ReadTrain("optimizer: {name: rmsprop}").optimizer();
  EXPECT_EQ(pytorch.name(), v1::Optimizer::RMSPROP);
  EXPECT_EQ(pytorch.lr(), 0.01);
  EXPECT_EQ(pytorch.alpha(), 0.99);
  EXPECT_EQ(pytorch.eps(), 1e-8);
  EXPECT_EQ(pytorch.momentum(), 0);
  EXPECT_FALSE(pytorch.tensorflow());
  const v1::Optimizer tensorflow = ReadTrain("optimizer: {name: rmsprop, rule: tensorflow}").optimizer();
  EXPECT_TRUE(tensorflow.tensorflow());
  EXPECT_EQ(tensorflow.alpha(), 0.9);
  EXPECT_EQ(tensorflow.eps(), 1e-10);
}

TEST_F(TrainSectionTest, GivesLionItsPapersDefaults) {
  const v1::Optimizer lion = ReadTrain("optimizer: {name: lion}").optimizer();
  EXPECT_EQ(lion.name(), v1::Optimizer::LION);
  EXPECT_EQ(lion.lr(), 1e-4);
  EXPECT_EQ(lion.beta1(), 0.9);
  EXPECT_EQ(lion.beta2(), 0.99);
  EXPECT_EQ(lion.weight_decay(), 0);
}

TEST_F(TrainSectionTest, EveryOptimizerAndScheduleReadsBackTheSame) {
  for (const char* optimizer :
       {"sgd, momentum: 0.9", "adam, eps: 1e-7", "adamw, betas: [0.8, 0.9]", "rmsprop, momentum: 0.9, alpha: 0.95",
        "rmsprop, rule: tensorflow, eps: 1", "lion, weight_decay: 1",
        "sgd, groups: [{match: '*.bias', lr: 0.1}, {match: 'h*', lr_factor: 2, weight_decay: 0}]"}) {
    SCOPED_TRACE(optimizer);
    ExpectRoundTrip(absl::StrCat("optimizer: {name: ", optimizer, "}"));
  }
  for (const char* schedule :
       {"constant, warmup_steps: 2", "linear, min_lr: 1e-5", "cosine", "step, step_size: 3, gamma: 0.5, min_lr: 1e-5",
        "polynomial, power: 2", "wsd, warmup_steps: 2, decay_steps: 3", "wsd, decay_steps: 3, decay: sqrt",
        "wsd, decay_steps: 3, decay: cosine"}) {
    SCOPED_TRACE(schedule);
    ExpectRoundTrip(absl::StrCat("lr_schedule: {name: ", schedule, "}"));
  }
}

TEST_F(TrainSectionTest, RefusesAKeyOfAnotherOptimizerOrSchedule) {
  EXPECT_EQ(Errors("optimizer: {name: lion, eps: 1e-8}"), "19:27: error: 'eps' belongs to adam, adamw and rmsprop\n");
  EXPECT_EQ(Errors("optimizer: {name: adamw, rule: tensorflow, alpha: 0.9}"),
            "19:28: error: 'rule' belongs to rmsprop\n19:46: error: 'alpha' belongs to rmsprop\n");
  EXPECT_EQ(Errors("optimizer: {name: rmsprop, rule: keras}"),
            "19:36: error: train.optimizer.rule: expected one of pytorch, tensorflow, found 'keras'\n");
  EXPECT_EQ(Errors("lr_schedule: {name: cosine, gamma: 0.1, power: 2, decay_steps: 3}"),
            "19:31: error: 'gamma' belongs to step\n19:43: error: 'power' belongs to polynomial\n"
            "19:53: error: 'decay_steps' belongs to wsd\n");
}

TEST_F(TrainSectionTest, ChecksWhatASchedulesStepsAddUpTo) {
  EXPECT_EQ(Errors("lr_schedule: {name: step}"), "19:3: error: missing key 'step_size' in 'train.lr_schedule'\n");
  EXPECT_EQ(Errors("lr_schedule: {name: step, step_size: 0, gamma: 1.5}"),
            "19:40: error: train.lr_schedule.step_size is 0: it must be at least 1\n"
            "19:50: error: train.lr_schedule.gamma is 1.5: it must be above 0 and at most 1\n");
  EXPECT_EQ(Errors("lr_schedule: {name: polynomial, power: 0}"),
            "19:42: error: train.lr_schedule.power is 0: it must be above 0\n");
  EXPECT_EQ(Errors("lr_schedule: {name: wsd}"), "19:3: error: missing key 'decay_steps' in 'train.lr_schedule'\n");
  EXPECT_EQ(Errors("lr_schedule: {name: wsd, warmup_steps: 4, decay_steps: 7}"),
            "19:58: error: train.lr_schedule.decay_steps is 7, but only 6 of the job's 10 steps come after the "
            "warm-up\n");
}

TEST_F(TrainSectionTest, ChecksTheRangesOfNewOptimizers) {
  EXPECT_EQ(Errors("optimizer: {name: rmsprop, alpha: 1, momentum: -0.1, eps: 0}"),
            "19:37: error: train.optimizer.alpha is 1: it must be at least 0 and below 1\n"
            "19:50: error: train.optimizer.momentum is -0.1: it must be at least 0 and below 1\n"
            "19:61: error: train.optimizer.eps is 0: it must be above 0\n");
  EXPECT_EQ(Errors("optimizer: {name: lion, betas: [0.9, 1]}"),
            "19:34: error: train.optimizer.betas is 1: it must be at least 0 and below 1\n");
}

TEST_F(TrainSectionTest, ReadsGroupsInTheirOrder) {
  const v1::Optimizer optimizer =
      ReadTrain("optimizer: {name: adamw, groups: [{match: '*.bias', lr: 0.1}, {match: head.*, weight_decay: 0}]}")
          .optimizer();
  ASSERT_EQ(optimizer.groups_size(), 2);
  EXPECT_EQ(optimizer.groups(0).match(), "*.bias");
  EXPECT_EQ(optimizer.groups(0).lr(), 0.1);
  EXPECT_FALSE(optimizer.groups(0).has_weight_decay());
  EXPECT_TRUE(optimizer.groups(1).has_weight_decay());
}

TEST_F(TrainSectionTest, NamesTheLineOfAGroupThatTakesNoParameter) {
  EXPECT_EQ(Errors("optimizer:\n    name: adamw\n    groups:\n      - {match: '*.bais', lr: 0.1}"),
            "22:17: error: train.optimizer.groups.0.match is '*.bais', which takes no parameter of the model, whose "
            "names are such as embedding_0.weight\n");
  EXPECT_EQ(Errors("optimizer: {name: sgd, groups: [{match: '*', lr: 1}, {match: '*.bias', lr: 1}]}"),
            "19:64: error: train.optimizer.groups.1.match is '*.bias', which takes no parameter: groups before it "
            "have them already, and the first one that fits counts\n");
}

TEST_F(TrainSectionTest, RefusesGroupsThatSayNothingOrTooMuch) {
  EXPECT_EQ(Errors("optimizer: {name: sgd, groups: [{match: '*'}]}"),
            "19:35: error: train.optimizer.groups.0 changes nothing: give lr, lr_factor or weight_decay\n");
  EXPECT_EQ(Errors("optimizer: {name: sgd, groups: [{match: '*', lr: 1, lr_factor: 2}]}"),
            "19:55: error: 'lr_factor' stands beside 'lr': a group has one of them\n");
  EXPECT_EQ(Errors("optimizer: {name: sgd, groups: [{match: '*', lr: -1}]}"),
            "19:52: error: train.optimizer.groups.0.lr is -1: it must be at least 0\n");
  EXPECT_EQ(Errors("optimizer: {name: sgd, lr: 0, groups: [{match: '*', lr: 1}]}"),
            "19:59: error: train.optimizer.groups.0.lr stands beside a train.optimizer.lr of 0, which the schedule of "
            "every rate is scaled from\n");
  EXPECT_EQ(Errors("optimizer: {name: sgd, groups: [{lr: 1}]}"),
            "19:35: error: missing key 'match' in 'train.optimizer.groups.0'\n");
}

TEST_F(TrainSectionTest, APrecisionIsTheModelsTypeToo) {
  const v1::JobSpec full = Read(With("precision: fp32")).value();
  EXPECT_EQ(full.model().compute(), v1::DTYPE_UNSPECIFIED);
  EXPECT_FALSE(full.train().has_loss_scale());
  EXPECT_EQ(Read(With("precision: bf16"))->model().compute(), v1::DTYPE_BFLOAT16);
  const v1::JobSpec half = Read(With("precision: fp16")).value();
  EXPECT_EQ(half.model().compute(), v1::DTYPE_FLOAT16);
  EXPECT_EQ(half.train().loss_scale().initial(), 65536);
  EXPECT_EQ(half.train().loss_scale().growth_interval(), 2000u);
  ExpectRoundTrip("precision: bf16");
  ExpectRoundTrip("precision: fp16\n  loss_scale: {initial: 1024, growth_interval: 10}");
}

TEST_F(TrainSectionTest, RefusesAScaleThatIsNoPowerOfTwoOrOfAnotherPrecision) {
  EXPECT_EQ(Errors("loss_scale: {initial: 8}"), "19:3: error: 'loss_scale' belongs to precision: fp16\n");
  for (const char* initial : {"1000", "0.5", "33554432", "0"}) {
    EXPECT_EQ(Errors(absl::StrCat("precision: fp16\n  loss_scale: {initial: ", initial, "}")),
              absl::StrCat("20:25: error: train.loss_scale.initial is ", std::stod(initial),
                           ": it must be a power of two between 1 and 16777216\n"));
  }
  EXPECT_EQ(Errors("precision: fp16\n  loss_scale: {growth_interval: 0}"),
            "20:33: error: train.loss_scale.growth_interval is 0: it must be at least 1\n");
  EXPECT_EQ(Errors("precision: fp8"),
            "19:14: error: train.precision: expected one of fp32, bf16, fp16, found 'fp8'\n");
}

TEST_F(TrainSectionTest, FreezesByPatternsOrByLayer) {
  const v1::JobSpec spec = Read(With("freeze: ['*.ln_1.*', head.bias]")).value();
  ASSERT_EQ(spec.model().freeze_size(), 2);
  EXPECT_EQ(spec.model().freeze(1), "head.bias");
  ExpectRoundTrip("freeze: ['*.ln_1.*', head.bias]");
  const v1::JobSpec by_layer =
      Read(absl::StrReplaceAll(Job(), {{"- layer_norm", "- layer_norm: {frozen: true}"}})).value();
  EXPECT_TRUE(by_layer.model().layers(3).frozen());
  EXPECT_FALSE(by_layer.model().layers(4).frozen());
  EXPECT_TRUE(Read(ToYaml(by_layer))->model().layers(3).frozen());
}

TEST_F(TrainSectionTest, NamesTheLineOfAPatternThatFreezesNothingAndAJobThatTrainsNothing) {
  EXPECT_EQ(Errors("freeze: ['h.*']"),
            "19:12: error: train.freeze.0 is 'h.*', which is no parameter of the model, whose names are such as "
            "embedding_0.weight\n");
  EXPECT_EQ(Errors("freeze: ['*']"), "19:11: error: train.freeze leaves no parameter to train\n");
}

}  // namespace
}  // namespace penstock

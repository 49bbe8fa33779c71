// Whether plans fit, and what would make them better.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "coordinator/plan/planner.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/plan/job_specs.h"
#include "tests/coordinator/plan/planned_jobs.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

absl::Status Fits(const v1::JobSpec& spec, const v1::Plan& plan, const std::vector<uint64_t>& memory_bytes) {
  return CheckFits({spec, nullptr, memory_bytes}, plan);
}

std::vector<std::string> AdviceOf(const v1::JobSpec& spec, const std::vector<uint64_t>& memory_bytes = {}) {
  return Advice({spec, nullptr, memory_bytes}, Planned(spec, memory_bytes).plan);
}

TEST(CheckFitsTest, NamesTheFirstRankThatDoesNotFitAndWhatWould) {
  v1::JobSpec spec = GptJob(4, 2, 8);
  const v1::Plan gpipe = Plan(spec);
  EXPECT_TRUE(Fits(spec, gpipe, {}).ok());
  EXPECT_TRUE(Fits(spec, gpipe, {0, 0}).ok());
  const auto peak = [](const v1::Stage& stage) { return stage.state_bytes() + stage.peak_activation_bytes(); };
  EXPECT_TRUE(Fits(spec, gpipe, {peak(gpipe.stages(0)), peak(gpipe.stages(1))}).ok());
  const absl::Status status = Fits(spec, gpipe, {0, peak(gpipe.stages(1)) - 1});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), StartsWith("rank 1 (stage 1) needs "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("schedule: 1f1b would fit"));
  // What it proposes does fit.
  spec.mutable_pipeline()->set_schedule("1f1b");
  EXPECT_TRUE(Fits(spec, Plan(spec), {0, peak(gpipe.stages(1)) - 1}).ok());
}

TEST(CheckFitsTest, ProposesSmallerMicroBatchesAndThenALargerWorker) {
  v1::JobSpec spec = GptJob(4, 2, 1);
  const v1::Plan plan = Plan(spec);
  const uint64_t limit = plan.stages(0).state_bytes() + plan.stages(0).peak_activation_bytes() / 2;
  EXPECT_THAT(std::string(Fits(spec, plan, {limit, limit}).message()), HasSubstr("micro_batches: "));
  EXPECT_THAT(std::string(Fits(spec, plan, {1000, 0}).message()),
              HasSubstr("use more stages, or give it a worker with at least "));
}

TEST(AdviceTest, ProposesABetterSplitOnlyWhereThereIsOne) {
  v1::JobSpec spec = DelayJob({1000, 1000, 1000, 1000, 1000, 1000}, 2, 8);
  EXPECT_THAT(absl::StrJoin(AdviceOf(spec), "\n"), Not(HasSubstr("split")));
  spec.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_EXPLICIT);
  for (const int size : {4, 2}) spec.mutable_pipeline()->add_split_sizes(size);
  EXPECT_THAT(absl::StrJoin(AdviceOf(spec), "\n"),
              HasSubstr("stage 0 takes 33 % longer than the mean; split [3, 3] would balance better"));
}

TEST(AdviceTest, ProposesMoreMicroBatchesOnlyWhereTheStepWouldBeShorter) {
  // A delay takes its time for every micro-batch, however small: more of them only take longer.
  const v1::JobSpec delays = DelayJob({1000, 1000}, 2, 4);
  EXPECT_THAT(AdviceOf(delays), IsEmpty());
  const v1::JobSpec gpt = GptJob(6, 4, 4);
  EXPECT_THAT(absl::StrJoin(AdviceOf(gpt), "\n"), HasSubstr("8 micro-batches would give a bubble of "));
}

}  // namespace
}  // namespace penstock

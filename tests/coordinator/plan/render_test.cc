#include "coordinator/plan/render.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/plan/amounts.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/coordinator/plan/job_specs.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

PlannedJob Planned(const PlanRequest& request) {
  const absl::StatusOr<PlannedJob> planned = PlanJob(request);
  EXPECT_TRUE(planned.ok()) << planned.status();
  return planned.ok() ? *planned : PlannedJob();
}

TEST(RenderTest, TheTableSaysWhatEachStageHolds) {
  const v1::JobSpec spec = DelayJob({10000, 10000, 10000, 10000}, 2, 32);
  PlannedJob planned = Planned({spec});
  for (int s = 0; s < 2; ++s) {
    planned.plan.mutable_stages(s)->set_peak_activation_bytes(2048 * (s + 1));
    planned.plan.mutable_ranks(s)->set_peak_bytes(2048 * (s + 1));
  }
  EXPECT_EQ(RenderPlanText({spec, nullptr, {uint64_t{4} << 30, 8192}}, planned, {"localhost/cpu.0"}),
            "delays: 4 layers, 0 parameters, fp32, sgd; 32 micro-batches of 1 sample; 2 stages, schedule gpipe\n"
            "STAGE  LAYERS           PARAMS  STATE   ACTIV.     PEAK     LIMIT  FIT  TIME/MB  WORKER\n"
            "0      delay_0 delay_1       0    0 B  2.0 KiB  2.0 KiB  4.00 GiB  yes    60 ms  localhost/cpu.0\n"
            "1      delay_2 delay_3       0    0 B  4.0 KiB  4.0 KiB   8.0 KiB  yes    60 ms  (rank 1)\n"
            "Bubble 3.1 % of all ranks' time (GPipe's)   Step ~1.98 s, 16 samples/s, 100 steps in 3 min 18 s\n"
            "Times are estimated from FLOPs and bytes\n");
}

TEST(RenderTest, StagesOfARankStandTogetherAndShareItsLimit) {
  v1::JobSpec spec = DelayJob({10000, 10000, 10000, 10000}, 4, 4);
  spec.mutable_pipeline()->set_schedule("zb-v");
  spec.mutable_pipeline()->set_chunks(2);
  PlannedJob planned = Planned({spec});
  planned.plan.mutable_ranks(0)->set_peak_bytes(3000);
  EXPECT_THAT(
      RenderPlanText({spec, nullptr, {2048, 2048}}, planned, {"w0", "w1"}),
      StartsWith("delays: 4 layers, 0 parameters, fp32, sgd; 4 micro-batches of 8 samples; 4 stages on 2 ranks, "
                 "schedule zb-v\n"
                 "RANK  STAGE  LAYERS   PARAMS  STATE  ACTIV.     PEAK    LIMIT  FIT  TIME/MB  WORKER\n"
                 "0     0      delay_0       0    0 B   256 B  2.9 KiB  2.0 KiB  NO     30 ms  w0\n"
                 "      3      delay_3       0    0 B   832 B                           30 ms\n"
                 "1     1      delay_1       0    0 B   256 B    256 B  2.0 KiB  yes    30 ms  w1\n"
                 "      2      delay_2       0    0 B   256 B                           30 ms\n"));
}

TEST(RenderTest, TokensAndAdviceStandUnderTheTable) {
  v1::JobSpec spec = GptJob(8, 2, 2);
  spec.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_EXPLICIT);
  for (const int size : {8, 4}) spec.mutable_pipeline()->add_split_sizes(size);
  const std::string text = RenderPlanText({spec}, Planned({spec}));
  EXPECT_THAT(text, StartsWith("gpt: 12 layers, 1.7M parameters, fp32, adamw; 2 micro-batches of 16 x 64 tokens; "));
  EXPECT_THAT(text, HasSubstr("wte .. h.5 (8)"));
  EXPECT_THAT(text, HasSubstr(" tokens/s, 100 steps in "));
  EXPECT_THAT(text, HasSubstr("(GPipe's; 4 micro-batches would give "));
  EXPECT_THAT(text, HasSubstr("\nnote: stage 0 takes "));
}

TEST(RenderTest, JsonHasTheSameFacts) {
  const v1::JobSpec spec = GptJob(2, 2, 2);
  const PlannedJob planned = Planned({spec, nullptr, {}, SimulationDetail::kActions});
  const v1::Plan& plan = planned.plan;
  const nlohmann::json json = nlohmann::json::parse(RenderPlanJson({spec, nullptr, {5}}, planned, {"w0", "w1"}));
  EXPECT_EQ(json["schedule"], "gpipe");
  EXPECT_EQ(json["micro_batches"], 2);
  EXPECT_EQ(json["predicted"]["step_us"].get<double>(), plan.predicted_step_us());
  EXPECT_EQ(json["predicted"]["makespan_us"].get<double>() + json["predicted"]["update_us"].get<double>(),
            plan.predicted_step_us());
  EXPECT_EQ(json["predicted"]["bubbles"]["gpipe"], json["predicted"]["bubble"]);
  EXPECT_EQ(json["stages"].size(), 2u);
  EXPECT_EQ(json["stages"][0]["layers"][0], "wte");
  EXPECT_EQ(json["stages"][0]["fits"], false);
  EXPECT_EQ(json["stages"][1]["limit_bytes"], nullptr);
  EXPECT_EQ(json["stages"][1]["worker"], "w1");
  EXPECT_EQ(json["stages"][1]["state_bytes"].get<uint64_t>(), plan.stages(1).state_bytes());
  EXPECT_EQ(json["ranks"][1]["peak_bytes"].get<uint64_t>(), plan.ranks(1).peak_bytes());
  EXPECT_EQ(json["ranks"][1]["stages"].dump(), "[1]");
  EXPECT_EQ(json["actions"][0].dump(), R"(["0F0","0F1","0B0","0B1"])");
  EXPECT_EQ(json["timeline"][1][0]["action"], "1F0");
  EXPECT_GT(json["timeline"][1][0]["end_us"].get<double>(), json["timeline"][1][0]["start_us"].get<double>());
}

TEST(RenderComparisonTest, HasEveryScheduleAndSaysWhyOneCannotRun) {
  // 3 micro-batches: too few for dualpipe-v on 2 ranks.
  const v1::JobSpec spec = DelayJob({10000, 10000, 10000, 10000}, 2, 3);
  const auto rows = CompareSchedules({spec});
  ASSERT_TRUE(rows.ok()) << rows.status();
  const std::string text = RenderComparisonText({spec}, *rows);
  EXPECT_THAT(text,
              StartsWith("delays: 4 layers, 0 parameters, fp32, sgd; 3 micro-batches of at most 11 samples; 2 ranks\n"
                         "   SCHEDULE "));
  EXPECT_THAT(text, HasSubstr("\n   gpipe        2"));
  EXPECT_THAT(text, HasSubstr("zb-v         4 (2 a rank)"));
  EXPECT_THAT(text, HasSubstr("\ncannot run: dualpipe-v with 2 stages a rank: pipeline.micro_batches is 3, but "
                              "dualpipe-v on 2 ranks needs"));
  EXPECT_THAT(text, HasSubstr("\nnote: schedule auto takes "));
  EXPECT_THAT(text, Not(HasSubstr("--schedule all"))) << "that is what was run";
  const nlohmann::json json = nlohmann::json::parse(RenderComparisonJson({spec}, *rows));
  EXPECT_EQ(json["schedules"].size(), rows->size());
  const auto gpipe = std::find_if(json["schedules"].begin(), json["schedules"].end(),
                                  [](const auto& row) { return row["schedule"] == "gpipe"; });
  ASSERT_NE(gpipe, json["schedules"].end());
  EXPECT_EQ((*gpipe)["split"].dump(), "[2,2]");
  EXPECT_EQ((*gpipe)["ranks"].size(), 2u);
}

TEST(RenderComparisonTest, TheShortestStepComesFirstAndWhatCannotRunLast) {
  // Rows stood in the order of the schedules' names.
  const v1::JobSpec spec = DelayJob({10000, 20000, 10000, 10000}, 2, 3);
  const auto rows = CompareSchedules({spec});
  ASSERT_TRUE(rows.ok()) << rows.status();
  const nlohmann::json json = nlohmann::json::parse(RenderComparisonJson({spec}, *rows));
  double last = 0;
  bool runs = true;
  for (const auto& row : json["schedules"]) {
    EXPECT_TRUE(runs || row["applicable"] == false);
    runs = row["applicable"];
    if (!runs) continue;
    EXPECT_GE(row["predicted"]["step_us"].get<double>(), last);
    last = row["predicted"]["step_us"];
  }
  EXPECT_FALSE(runs) << "dualpipe-v needs more micro-batches";
  const std::string text = RenderComparisonText({spec}, *rows);
  const std::string first = json["schedules"][0]["schedule"];
  EXPECT_LT(text.find(first), text.find(json["schedules"][4]["schedule"].get<std::string>()));
  // Four layers make no six stages.
  EXPECT_THAT(text, HasSubstr("\ncannot run: interleaved with 3 stages a rank: "));
}

TEST(AmountsTest, AreReadAtEverySize) {
  EXPECT_EQ(BytesAmount(1023), "1023 B");
  EXPECT_EQ(BytesAmount(uint64_t{5} << 39), "2.50 TiB");
  EXPECT_EQ(BytesAmount(uint64_t{3} << 50), "3.00 PiB");
  EXPECT_EQ(CountAmount(1.5e12), "1.50T");
  EXPECT_EQ(TimeAmount(840), "840 us");
  EXPECT_EQ(LongTimeAmount(59.4e6), "59 s");
  EXPECT_EQ(LongTimeAmount((4 * 3600 + 39 * 60) * 1e6), "4 h 39 min");
  EXPECT_EQ(LongTimeAmount(100 * 3600e6), "4 d 4 h");
}

}  // namespace
}  // namespace penstock

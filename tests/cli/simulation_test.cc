// `penstock simulate` without its console: what it computes from the options, what it prints, what it refuses.
#include "cli/simulation.h"

#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

SimulationRequest Request(const std::string& schedule, int ranks = 4, int micro_batches = 8) {
  SimulationRequest request;
  request.schedule = schedule;
  request.ranks = ranks;
  request.micro_batches = micro_batches;
  request.forward = request.input_grad = request.weight_grad = "1";
  return request;
}

SimulatedSchedule Simulated(const SimulationRequest& request) {
  auto simulated = SimulateSchedule(request, SimulationDetail::kActions);
  EXPECT_TRUE(simulated.ok()) << simulated.status();
  return simulated.ok() ? *std::move(simulated) : SimulatedSchedule();
}

std::vector<double> Peaks(const SimulationRequest& request) {
  return nlohmann::json::parse(SimulationJson(Simulated(request)))["peak_activations"].get<std::vector<double>>();
}

std::string Error(const SimulationRequest& request) {
  const auto simulated = SimulateSchedule(request, SimulationDetail::kTotals);
  EXPECT_EQ(simulated.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(simulated.status().message());
}

TEST(SimulationTest, JsonHasTheStepItsBubblesItsPeaksAndItsLists) {
  EXPECT_EQ(SimulationJson(Simulated(Request("zb-h1", 2, 2))), R"({
  "schedule": "zb-h1",
  "makespan": 7.0,
  "span": 7.0,
  "bubble": {
    "gpipe": 0.1428571428571429,
    "megatron": 0.16666666666666666,
    "zero_bubble": 0.14285714285714285
  },
  "peak_activations": [
    2.0,
    2.0
  ],
  "actions": [
    [
      "0F0",
      "0F1",
      "0I0",
      "0W0",
      "0I1",
      "0W1"
    ],
    [
      "1F0",
      "1I0",
      "1F1",
      "1I1",
      "1W0",
      "1W1"
    ]
  ]
})");
}

TEST(SimulationTest, PairsStandAsOneWord) {
  const auto json = nlohmann::json::parse(SimulationJson(Simulated(Request("dualpipe-v", 4, 8))));
  const auto list = json["actions"][0].get<std::vector<std::string>>();
  EXPECT_NE(std::find(list.begin(), list.end(), "0F7&7B3"), list.end());
}

TEST(SimulationTest, ARanksTimesAndBytesAreDividedOverItsStages) {
  SimulationRequest request = Request("interleaved");
  EXPECT_EQ(Simulated(request).simulation.makespan_us, 28.5);
  EXPECT_THAT(Peaks(request), ElementsAre(5.5, 4.5, 3.5, 2.5));
  request.chunks = 4;
  const SimulatedSchedule finer = Simulated(request);
  EXPECT_EQ(finer.placement.num_stages(), 16);
  EXPECT_EQ(finer.simulation.busy_us[0], 24);
  EXPECT_EQ(finer.simulation.makespan_us, 24 + 9.0 / 4);
}

TEST(SimulationTest, WeightInputsAreKeptFromIToW) {
  SimulationRequest request = Request("zb-h1");
  EXPECT_THAT(Peaks(request), ElementsAre(4, 4, 4, 4));  // as many bytes as activations unless said
  request.activation_bytes = "2";
  request.weight_input_bytes = "1";
  EXPECT_THAT(Peaks(request), ElementsAre(4, 3.5, 3, 2.5));  // p - r of M_B, r of M_W
  request.activation_bytes = "0.75";
  request.weight_input_bytes = "0.375";
  EXPECT_THAT(Peaks(request), ElementsAre(4, 3.5, 3, 2.5));
  request.activation_bytes = "3GiB";
  request.weight_input_bytes = "0";
  EXPECT_THAT(Peaks(request), ElementsAre(4, 3, 2, 1));
}

TEST(SimulationTest, EachRankMayHaveItsOwnNumbers) {
  SimulationRequest request = Request("gpipe", 3, 4);
  request.forward = "1,3,2";
  request.input_grad = "1,3,2";
  request.weight_grad = "1,3,2";
  request.activation_bytes = "10,20,30";
  const SimulatedSchedule simulated = Simulated(request);
  EXPECT_EQ(simulated.simulation.makespan_us, 45);  // 6 + 9 + 12 + 18
  EXPECT_EQ(simulated.simulation.bubbles.zero_bubble, (45.0 - 36) / 45);
  EXPECT_THAT(Peaks(request), ElementsAre(4, 4, 4));
}

TEST(SimulationTest, RecomputationKeepsBoundariesAndTakesTheForwardsTime) {
  SimulationRequest request = Request("gpipe", 2, 4);
  request.recompute = "boundary";
  request.activation_bytes = "10";
  request.boundary_bytes = "1";
  EXPECT_THAT(Peaks(request), ElementsAre(1.3, 1.3));  // three boundaries and one whole
  EXPECT_EQ(Simulated(request).simulation.busy_us[0], 4 * 4);
  request.recompute = "except-last";
  EXPECT_EQ(Simulated(request).simulation.busy_us[0], 4 * 4 - 1);
}

TEST(SimulationTest, ListsOfOnesOwnAreCheckedAndRun) {
  SimulationRequest request = Request("", 0, 0);
  request.lists = ActionTable{*ListFromText("0F0 3F0 3B0 0B0"), *ListFromText("1F0 2F0 2B0 1B0")};
  const SimulatedSchedule simulated = Simulated(request);
  EXPECT_EQ(simulated.simulation.makespan_us, 6);  // each rank's 3 in two parts, and the other's
  request.ranks = 3;
  EXPECT_THAT(Error(request), HasSubstr("--ranks is 3, but the file has 2 lists"));
  request.ranks = 2;
  request.micro_batches = 5;
  EXPECT_THAT(Error(request), HasSubstr("--micro-batches is 5"));
  request.micro_batches = 0;
  request.chunks = 2;
  EXPECT_THAT(Error(request), HasSubstr("--chunks is given, but the file's lists say it all"));
  request.chunks = 0;
  (*request.lists)[1] = *ListFromText("1F0 2F0 1B0 2B0");
  EXPECT_THAT(Error(request), HasSubstr(">>1B0<<"));
}

TEST(SimulationTest, WrongOptionsAreNamed) {
  const auto with = [](auto change) {
    SimulationRequest request = Request("1f1b");
    change(&request);
    return Error(request);
  };
  EXPECT_THAT(with([](auto* r) { r->schedule = "2f2b"; }), HasSubstr("--schedule is '2f2b'; there are gpipe, 1f1b"));
  EXPECT_THAT(with([](auto* r) { r->schedule = ""; }), HasSubstr("--schedule is missing"));
  EXPECT_THAT(with([](auto* r) { r->ranks = 0; }), HasSubstr("--ranks is missing"));
  EXPECT_THAT(with([](auto* r) { r->ranks = -4; }), HasSubstr("--ranks is -4: at least 1"));
  EXPECT_THAT(with([](auto* r) { r->micro_batches = -1; }), HasSubstr("--micro-batches is -1: at least 1"));
  EXPECT_THAT(with([](auto* r) { r->micro_batches = 1 << 21; }), HasSubstr("at most 1048576"));
  EXPECT_THAT(with([](auto* r) { r->ranks = 65536, r->micro_batches = 1 << 20; }), HasSubstr("lower --micro-batches"));
  EXPECT_THAT(with([](auto* r) { r->forward = "nan"; }), HasSubstr("--forward has 'nan', which is no time"));
  EXPECT_THAT(with([](auto* r) { r->forward = "1,2"; }), HasSubstr("--forward has 2 numbers for 4 ranks"));
  EXPECT_THAT(with([](auto* r) { r->input_grad = "-1"; }), HasSubstr("--input-grad has '-1'"));
  EXPECT_THAT(with([](auto* r) { r->weight_grad = ""; }), HasSubstr("--weight-grad is missing"));
  EXPECT_THAT(with([](auto* r) { r->weight_grad = "1,,1,1"; }), HasSubstr("--weight-grad has ''"));
  EXPECT_THAT(with([](auto* r) { r->comm = -1; }), HasSubstr("--comm is -1"));
  EXPECT_THAT(with([](auto* r) { r->activation_bytes = "0"; }), HasSubstr("--activation-bytes is 0"));
  EXPECT_THAT(with([](auto* r) { r->activation_bytes = "5 apples"; }), HasSubstr("which is no size"));
  EXPECT_THAT(with([](auto* r) { r->activation_bytes = "1e300"; }), HasSubstr("too large to be counted"));
  EXPECT_THAT(with([](auto* r) { r->activation_bytes = "1e-300"; }), HasSubstr("too small to be counted"));
  EXPECT_THAT(with([](auto* r) { r->chunks = 2; }), HasSubstr("--chunks is 2, but 1f1b runs one stage a rank"));
  EXPECT_THAT(with([](auto* r) { r->chunks = -2; }), HasSubstr("--chunks is -2"));
  EXPECT_THAT(with([](auto* r) { r->group = 3; }), HasSubstr("--group is 3, but 1f1b has no groups"));
  EXPECT_THAT(with([](auto* r) { r->recompute = "some"; }), HasSubstr("--recompute is 'some'"));
  EXPECT_THAT(with([](auto* r) { r->schedule = "dualpipe-v", r->micro_batches = 3; }),
              HasSubstr("--micro-batches is 3"));
}

TEST(SimulationTest, AllSchedulesAreComparedByTheirLength) {
  SimulationRequest request = Request("all", 4, 6);  // too few micro-batches for dualpipe-v
  request.chunks = 2;
  const auto compared = CompareSchedules(request);
  ASSERT_TRUE(compared.ok()) << compared.status();
  double before = 0;
  bool refused = false;
  for (const ComparedSchedule& one : *compared) {
    refused = refused || !one.simulated.ok();
    if (!one.simulated.ok()) continue;
    EXPECT_FALSE(refused) << "those that cannot be made come last";
    EXPECT_GE(one.simulated->simulation.makespan_us, before);
    before = one.simulated->simulation.makespan_us;
  }
  EXPECT_EQ(compared->back().name, "dualpipe-v");
  const std::string text = SimulationText(*compared, 0);
  EXPECT_THAT(text, HasSubstr("\nzb-v "));
  EXPECT_THAT(text, HasSubstr("\ndualpipe-v: --micro-batches is 6"));
  const auto json = nlohmann::json::parse(SimulationJson(*compared));
  EXPECT_EQ(json.size(), compared->size());
  EXPECT_THAT(json.back()["error"].get<std::string>(), HasSubstr("--micro-batches is 6"));
  request.forward = "x";
  EXPECT_THAT(std::string(CompareSchedules(request).status().message()), HasSubstr("--forward has 'x'"));
}

TEST(SimulationTest, TextShowsThePathThatTheStepsLengthComesFrom) {
  SimulationRequest request = Request("1f1b", 2, 3);
  request.comm = 0.5;
  const std::string text = SimulationText(Simulated(request), 60);
  EXPECT_THAT(text, HasSubstr("1f1b: 2 ranks, 3 micro-batches\nMakespan 14, span 14\n"));
  EXPECT_THAT(
      text,
      HasSubstr("Critical path: 12 computing, 2 between ranks\n  0F0 > 1F0 to 1B0 > 0B0 to 0F2 > 1F2 to 1B2 > 0B2\n"));
  EXPECT_THAT(text, HasSubstr("\n0        9  35.71 %     2\n"));
  EXPECT_THAT(text, HasSubstr("\nrank 1  "));
}

TEST(SimulationTest, SvgNamesTheScheduleAndItsBubble) {
  const std::string svg = SimulationSvg(Simulated(Request("zb-h1")));
  EXPECT_THAT(svg, HasSubstr("<title>zb-h1: 4 ranks, 8 micro-batches; makespan 27, bubble 11.11 %</title>"));
  EXPECT_THAT(svg, HasSubstr(">peak 4<"));
}

}  // namespace
}  // namespace penstock

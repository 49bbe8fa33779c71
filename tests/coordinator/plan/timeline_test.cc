// Timelines as text, letter by letter, and what an SVG must have for people and for programs.
#include "coordinator/plan/timeline.h"

#include <random>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/plan/table_builder.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Simulation Simulated(const std::vector<std::string>& lists, const Placement& placement, int micro_batches,
                     const StageCost& stage) {
  const auto simulation = Simulate(TableOf(lists), placement, micro_batches,
                                   CostsOf(std::vector<StageCost>(placement.num_stages(), stage), micro_batches),
                                   SimulationDetail::kActions);
  EXPECT_TRUE(simulation.ok()) << simulation.status();
  return simulation.ok() ? *simulation : Simulation();
}

const StageCost kEqual{.forward_us = 1, .backward_us = 2, .weight_gradient_us = 1, .activation_bytes = 1};

Simulation OneForwardOneBackward() {
  return Simulated({"0F0 0F1 0B0 0F2 0B1 0B2", "1F0 1B0 1F1 1B1 1F2 1B2"}, OneStagePerRank(2), 3, kEqual);
}

TimelineOptions Plain(int width) {
  TimelineOptions options;
  options.unit = "ms";
  options.unit_us = 0.5;
  options.width = width;
  return options;
}

TEST(TimelineTest, EachActionIsAsWideAsItTakesTime) {
  EXPECT_EQ(TimelineText(OneForwardOneBackward(), Plain(32)),
            "rank 0  F0F1....B0--F2B1--..B2--\n"
            "rank 1  ..F0B0--F1B1--F2B2--....\n"
            "        0                  24 ms\n"
            "F forward, B backward, . idle\n");
}

TEST(TimelineTest, ANarrowTerminalShowsMicroBatchesWhereTheyFit) {
  EXPECT_EQ(TimelineText(OneForwardOneBackward(), Plain(24)),
            "rank 0  FF..B0FB1.B2\n"
            "rank 1  .FB0FB1FB2..\n"
            "        0      24 ms\n"
            "F forward, B backward,\n"
            ". idle\n");
}

TEST(TimelineTest, LaterStagesOfARankAreSmall) {
  const Simulation simulation =
      Simulated({"0F0 3F0 3I0 0I0 3W0 0W0", "1F0 2F0 2I0 1I0 2W0 1W0"}, Placement{{0, 1, 1, 0}}, 1, kEqual);
  EXPECT_EQ(TimelineText(simulation, Plain(60)),
            "rank 0  F0--........f0--i0--........I0--w0--W0--\n"
            "rank 1  ....F0--f0--........i0--I0--w0--W0--....\n"
            "        0                                  20 ms\n"
            "F forward, I input gradient, W weight gradient, . idle,\n"
            "small letters: a rank's later stages\n");
}

TEST(TimelineTest, NoLineIsWiderThanTheTerminal) {
  std::mt19937 random(6);
  for (int i = 0; i < 300; ++i) {
    const RandomPipeline pipeline({.max_ranks = 12, .max_stages = 20, .max_micro_batches = 12}, &random);
    const auto simulation = Simulate(pipeline.table, pipeline.placement, pipeline.micro_batches, pipeline.costs,
                                     SimulationDetail::kActions);
    ASSERT_TRUE(simulation.ok()) << simulation.status();
    for (const int width : {40, 80, 133}) {
      TimelineOptions options;
      options.width = width;
      for (const auto line : absl::StrSplit(TimelineText(*simulation, options), '\n')) {
        EXPECT_LE(static_cast<int>(line.size()), width) << line;
      }
    }
  }
}

TEST(TimelineTest, ManyRanksAreShownByTheirFirstAndLast) {
  std::vector<std::string> lists;
  for (int s = 0; s < 100; ++s) lists.push_back(absl::StrCat(s, "F0 ", s, "B0"));
  const Simulation simulation = Simulated(lists, OneStagePerRank(100), 1, kEqual);
  const std::string text = TimelineText(simulation, Plain(400));
  EXPECT_THAT(text, HasSubstr("\nrank 31  "));
  EXPECT_THAT(text, HasSubstr("\n(36 ranks more)\nrank 68  "));
  EXPECT_THAT(text, HasSubstr("\nrank 99  "));
  EXPECT_THAT(TimelineSvg(simulation, Plain(0)), HasSubstr(">36 ranks more<"));
}

TEST(TimelineTest, AStepThatTakesNoTimeIsDrawnAllTheSame) {
  const Simulation simulation = Simulated({"0F0 0B0"}, OneStagePerRank(1), 1, {});
  EXPECT_THAT(TimelineText(simulation, Plain(80)), HasSubstr("rank 0  "));
  EXPECT_THAT(TimelineSvg(simulation, Plain(80)), HasSubstr("</svg>"));
}

TEST(TimelineTest, AnSvgSaysWhatItShowsAndNeedsNothingElse) {
  TimelineOptions options = Plain(0);
  options.title = "a < b & \"c\"";
  options.critical_path = true;
  options.memory_text = [](int rank, int64_t bytes) { return absl::StrCat(rank, ":", bytes); };
  const std::string svg = TimelineSvg(OneForwardOneBackward(), options);
  EXPECT_THAT(svg, HasSubstr("<title>a &lt; b &amp; &quot;c&quot;</title>"));
  EXPECT_THAT(svg, HasSubstr("<desc>2 ranks; the step takes 24 ms."));
  EXPECT_THAT(svg, HasSubstr("role=\"img\""));
  EXPECT_THAT(svg, HasSubstr("prefers-color-scheme:dark"));
  EXPECT_THAT(svg, HasSubstr("<title>1F0: 2 ms to 4 ms</title>"));
  EXPECT_THAT(svg, HasSubstr(">peak 0:2<"));
  EXPECT_THAT(svg, HasSubstr("class=\"critical\" d=\"M"));
  EXPECT_THAT(svg, Not(HasSubstr("<script")));
  EXPECT_THAT(svg, Not(HasSubstr("href")));
  EXPECT_THAT(svg, Not(HasSubstr("url(")));
  // Every tag that is opened is closed, in order.
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-z]+)[^>]*?(/?)>");
  for (auto it = std::sregex_iterator(svg.begin(), svg.end(), tag); it != std::sregex_iterator(); ++it) {
    if ((*it)[3] == "/") continue;
    if ((*it)[1] == "/") {
      ASSERT_FALSE(open.empty());
      EXPECT_EQ(open.back(), (*it)[2]);
      open.pop_back();
    } else {
      open.push_back((*it)[2]);
    }
  }
  EXPECT_TRUE(open.empty());
}

TEST(TimelineTest, WidthsInAnSvgAreToScale) {
  const std::string svg = TimelineSvg(OneForwardOneBackward(), Plain(0));
  // Of 12 us the first forward takes 1, the first backward, from 4 on, 2: of 640 pixels from 72 on.
  EXPECT_THAT(svg, HasSubstr("<rect class=\"F\" x=\"72\" y=\"64\" width=\"52.63\""));
  EXPECT_THAT(svg, HasSubstr("<rect class=\"B\" x=\"285.33\" y=\"64\" width=\"105.97\""));
}

TEST(TimelineTest, ActionsNarrowerThanAPixelAreSampled) {
  std::string list;
  for (int m = 0; m < 5000; ++m) absl::StrAppend(&list, "0F", m, " ");
  for (int m = 0; m < 5000; ++m) absl::StrAppend(&list, "0B", m, " ");
  const std::string svg = TimelineSvg(Simulated({list}, OneStagePerRank(1), 5000, kEqual), Plain(0));
  EXPECT_THAT(svg, HasSubstr("<rect class=\"F\" x=\"72\" y=\"64\" width=\"800\""));
  EXPECT_THAT(svg, HasSubstr("<rect class=\"B\" x=\"872\" y=\"64\" width=\"1600\""));
  EXPECT_LT(svg.size(), 10'000u);
}

}  // namespace
}  // namespace penstock

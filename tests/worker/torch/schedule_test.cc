// The same job under every schedule and placement, with and without recompute: equal bits. The tables are written out,
// from docs/schedules.md's rules at 2 ranks and 4 micro-batches. Source: docs/exactness.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "tests/common/scratch_dir.h"
#include "tests/worker/torch/pipeline_jobs.h"
#include "worker/torch/torch_device.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

struct Table {
  std::string name;
  std::vector<int> rank_of_stage;
  std::vector<std::string> ranks;
};

const std::vector<int> kInterleaved = {0, 1, 0, 1}, kV = {0, 1, 1, 0}, kTwo = {0, 1}, kOneRank = {0, 0, 0, 0};

const std::vector<Table> kTables = {
    {"gpipe", kTwo, {"0F0 0F1 0F2 0F3 0B0 0B1 0B2 0B3", "1F0 1F1 1F2 1F3 1B0 1B1 1B2 1B3"}},
    {"gpipe, reverse",
     kTwo,
     {"0F0 0F1 0F2 0F3 0I3 0I2 0I1 0I0 0W0 0W1 0W2 0W3", "1F0 1F1 1F2 1F3 1I3 1I2 1I1 1I0 1W0 1W1 1W2 1W3"}},
    {"reverse, weight gradients too", kTwo, {"0F0 0F1 0F2 0F3 0B3 0B2 0B1 0B0", "1F0 1F1 1F2 1F3 1B3 1B2 1B1 1B0"}},
    {"1f1b", kTwo, {"0F0 0F1 0B0 0F2 0B1 0F3 0B2 0B3", "1F0 1B0 1F1 1B1 1F2 1B2 1F3 1B3"}},
    {"interleaved",
     kInterleaved,
     {"0F0 0F1 2F0 2F1 0F2 2B0 0F3 2B1 2F2 0B0 2F3 0B1 2B2 2B3 0B2 0B3",
      "1F0 1F1 3F0 3B0 3F1 3B1 1F2 1B0 1F3 1B1 3F2 3B2 3F3 3B3 1B2 1B3"}},
    {"zb-h1",
     kTwo,
     {"0F0 0F1 0I0 0W0 0F2 0I1 0W1 0F3 0I2 0W2 0I3 0W3", "1F0 1I0 1F1 1I1 1W0 1F2 1I2 1W1 1F3 1I3 1W2 1W3"}},
    {"zb-h2",
     kTwo,
     {"0F0 0F1 0F2 0I0 0W0 0F3 0I1 0W1 0I2 0W2 0I3 0W3", "1F0 1I0 1F1 1I1 1F2 1I2 1W0 1F3 1I3 1W1 1W2 1W3"}},
    {"zb-v",
     kV,
     {"0F0 0F1 0F2 3F0 3I0 3W0 3F1 3I1 3W1 0F3 0I0 0W0 3F2 3I2 3W2 0I1 0W1 3F3 3I3 3W3 0I2 0W2 0I3 0W3",
      "1F0 2F0 1F1 2F1 2I0 2W0 1F2 1I0 1W0 2F2 2I1 2W1 1F3 1I1 1W1 2F3 2I2 2W2 1I2 2I3 1I3 1W2 2W3 1W3"}},
    {"fused pairs, a mix of whole and split",
     kV,
     {"0F0 0F1 3F0 0F2&3B0 3F1 0F3&3B1 3F2&0B0 3B2 3F3&0I1 3B3 0W1 0I2 0I3 0W3 0W2",
      "1F0 2F0 1F1 2I0 2W0 2F1&1B0 1F2 2I1 2W1 2F2 1B1 2B2 1F3 2F3&1B2 2B3 1B3"}},
};

// Actions with a space or, for a pair, '&' between them.
ActionTable Parse(const std::vector<std::string>& ranks) {
  ActionTable table;
  for (const std::string& text : ranks) {
    ActionList& list = table.emplace_back();
    for (const absl::string_view item : absl::StrSplit(text, absl::ByAnyChar(" &"))) {
      list.push_back(ActionFromText(item).value());
    }
  }
  return table;
}

bool NeedsTape(ActionKind kind) { return kind == ActionKind::kBackward || kind == ActionKind::kInputGradient; }

// Runs R before every backward pass for which `chosen` says so, and `early` actions before it where that can be.
template <typename Chosen>
ActionTable WithRecompute(const ActionTable& table, const Chosen& chosen, int early) {
  ActionTable result;
  for (const ActionList& list : table) {
    ActionList& with = result.emplace_back();
    for (const Action& action : list) {
      if (NeedsTape(action.kind) && chosen(action)) {
        const auto forward =
            std::find(with.begin(), with.end(), Action{action.stage, ActionKind::kForward, action.micro_batch, false});
        const auto at = std::max(forward + 1, with.end() - std::min<ptrdiff_t>(early, with.size()));
        with.insert(at, {action.stage, ActionKind::kRecompute, action.micro_batch});
      }
      with.push_back(action);
    }
  }
  return result;
}

bool All(const Action&) { return true; }
bool ExceptLast(const Action& action) { return action.micro_batch != 3; }

struct NamedJob {
  std::string name;
  std::string spec;
  int layers;
  std::vector<int> two, four;  // layers per stage
};

std::vector<NamedJob> Jobs(const ScratchDir& dir) {
  const std::string gpt = absl::StrReplaceAll(GptJob(TextFile(dir)), {{"micro_batches: 3", "micro_batches: 4"}});
  const std::string tokens =
      absl::StrReplaceAll(TokenSkipJob(TextFile(dir)), {{"micro_batches: 3", "micro_batches: 4"}});
  const std::string images = CsvFile(dir);
  return {{"gpt", gpt, 8, {3, 5}, {3, 1, 2, 2}},
          {"conv", ConvJob(images), 10, {4, 6}, {3, 2, 2, 3}},
          {"u-net", UNetJob(images), kUNetLayers, {8, kUNetLayers - 8}, {4, 4, 5, kUNetLayers - 13}},
          {"cells", CellJob(images), kCellLayers, {4, 6}, {3, 1, 2, 4}},
          {"tokens that skip", tokens, kTokenSkipLayers, {3, 7}, {1, 2, 2, 5}}};
}

PipelineLayout LayoutOf(const NamedJob& job, const std::vector<int>& rank_of_stage, ActionTable table) {
  return {.cuts = rank_of_stage.size() == 2 ? job.two : job.four,
          .rank_of_stage = rank_of_stage,
          .train = std::move(table)};
}

TEST(ScheduleTest, EveryScheduleEndsWithTheSameBitsWithAndWithoutRecompute) {
  const ScratchDir dir;
  for (const NamedJob& job : Jobs(dir)) {
    const Outcome expected = Train(job.spec, {job.layers}, RunOrder::kGpipe, 2);
    for (const Table& schedule : kTables) {
      const ActionTable table = Parse(schedule.ranks);
      const auto expect = [&](const ActionTable& variant, const std::string& recompute) {
        ExpectSame(expected, Train(job.spec, LayoutOf(job, schedule.rank_of_stage, variant), 2),
                   absl::StrCat(job.name, ", ", schedule.name, ", recompute ", recompute));
      };
      expect(table, "none");
      expect(WithRecompute(table, All, 0), "boundary");
      expect(WithRecompute(table, ExceptLast, 2), "except the last, early");
    }
  }
}

// Every order that keeps to the rules, drawn at random: which stage is where, which actions are split, what is run
// again.
ActionTable RandomTable(const std::vector<int>& rank_of_stage, int micro_batches, std::mt19937* random) {
  const int stages = static_cast<int>(rank_of_stage.size());
  std::set<std::tuple<int, ActionKind, int>> done;
  const auto has = [&](int stage, ActionKind kind, int m) { return done.contains({stage, kind, m}); };
  ActionTable table(*std::max_element(rank_of_stage.begin(), rank_of_stage.end()) + 1);
  const int kinds = 3;
  while (done.size() < static_cast<size_t>(stages * micro_batches * kinds)) {
    std::vector<Action> ready;
    for (int s = 0; s < stages; ++s) {
      for (int m = 0; m < micro_batches; ++m) {
        const auto add = [&](ActionKind kind, bool can) {
          if (can && !has(s, kind, m)) ready.push_back({s, kind, m});
        };
        add(ActionKind::kForward, s == 0 || has(s - 1, ActionKind::kForward, m));
        const bool gradient = s == stages - 1 || has(s + 1, ActionKind::kInputGradient, m);
        add(ActionKind::kInputGradient, has(s, ActionKind::kForward, m) && gradient);
        add(ActionKind::kWeightGradient, has(s, ActionKind::kInputGradient, m));
      }
    }
    const Action action = ready[(*random)() % ready.size()];
    done.insert({action.stage, action.kind, action.micro_batch});
    table[rank_of_stage[action.stage]].push_back(action);
  }
  return table;
}

TEST(ScheduleTest, RandomOrdersOnAnyPlacementEndWithTheSameBits) {
  const ScratchDir dir;
  std::mt19937 random(5);
  const std::vector<std::vector<int>> placements = {kOneRank, kV, kInterleaved, {0, 1, 2, 3}, {1, 0, 0, 2}, kTwo};
  for (const NamedJob& job : Jobs(dir)) {
    const Outcome expected = Train(job.spec, {job.layers}, RunOrder::kGpipe, 2);
    for (const std::vector<int>& placement : placements) {
      const ActionTable table = RandomTable(placement, 4, &random);
      const unsigned mask = random();
      const auto chosen = [mask](const Action& action) {
        return (mask >> (action.stage * 4 + action.micro_batch)) & 1;
      };
      const std::string what = absl::StrCat(job.name, " on ", placement.size(), " stages, mask ", mask);
      ExpectSame(expected, Train(job.spec, LayoutOf(job, placement, table), 2), what);
      ExpectSame(expected, Train(job.spec, LayoutOf(job, placement, WithRecompute(table, chosen, 5)), 2), what);
    }
  }
}

TEST(ScheduleTest, LayersThatRecomputeThemselvesEndWithTheSameBits) {
  const ScratchDir dir;
  for (const NamedJob& job : Jobs(dir)) {
    const Outcome expected = Train(job.spec, {job.layers}, RunOrder::kGpipe, 2);
    for (const int every : {1, 2, 3}) {
      std::string flags = "recompute: RECOMPUTE_LAYERS";
      for (int i = 0; i < job.layers; ++i) absl::StrAppend(&flags, " recompute_layers: ", i % every == 0);
      const std::string spec = absl::StrReplaceAll(job.spec, {{"pipeline {", absl::StrCat("pipeline { ", flags)}});
      ExpectSame(expected, Train(spec, LayoutOf(job, kV, Parse(kTables[7].ranks)), 2),
                 absl::StrCat(job.name, ", every ", every, ". layer"));
    }
  }
}

TEST(ScheduleTest, GeneratesTheSameTokensWithFirstAndLastStageOnOneRank) {
  const ScratchDir dir;
  const NamedJob job = Jobs(dir)[0];
  std::vector<std::vector<int64_t>> texts;
  for (const std::vector<int>& placement : {kOneRank, kV, kInterleaved}) {
    absl::StatusOr<Pipeline> pipeline = Pipeline::LoadLayout(Cpu(), job.spec, LayoutOf(job, placement, {}));
    ASSERT_TRUE(pipeline.ok()) << pipeline.status();
    std::vector<int64_t> tokens = {97, 98, 99};
    for (int i = 0; i < 4; ++i) tokens.push_back(pipeline->NextToken(tokens, 0.8, 40, 3).value());
    texts.push_back(tokens);
  }
  EXPECT_EQ(texts[1], texts[0]);
  EXPECT_EQ(texts[2], texts[0]);
}

// Runs actions of one stage that holds the whole model, and returns how the last one ended.
absl::Status LastOf(const std::string& actions) {
  const ScratchDir dir;
  const NamedJob job = Jobs(dir)[1];
  absl::StatusOr<Pipeline> pipeline = Pipeline::LoadLayout(Cpu(), job.spec, {.cuts = {10}, .train = Parse({actions})});
  if (!pipeline.ok()) return pipeline.status();
  return pipeline->Step(1).status();
}

TEST(ScheduleTest, AListOutOfOrderIsAnErrorThatNamesTheAction) {
  for (const auto& [actions, message] : std::vector<std::pair<std::string, std::string>>{
           {"0B0", "its forward, or its recompute, has not run"},
           {"0F0 0W0", "its input gradient has not run"},
           {"0F0 0I0 0W0 0W0", "or this one has"},
           {"0F0 0B0 0F1 0I1", "stage 0 has not run the backward pass of every micro-batch"},
           {"0F0 0I0 0R0", "its forward, or its recompute, has not run"}}) {
    const absl::Status failed = LastOf(actions);
    EXPECT_EQ(failed.code(), absl::StatusCode::kInternal) << actions;
    EXPECT_THAT(std::string(failed.message()), HasSubstr(message)) << actions;
  }
}

TEST(ScheduleTest, AListOfRecomputedLayersOfAnotherLengthIsRefused) {
  const ScratchDir dir;
  const std::string spec = absl::StrReplaceAll(
      Jobs(dir)[1].spec, {{"pipeline {", "pipeline { recompute: RECOMPUTE_LAYERS recompute_layers: true"}});
  const absl::Status refused = Pipeline::Load(Cpu(), spec, {10}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("lists 1 layers, the model has 10"));
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  penstock::PrepareTorch();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

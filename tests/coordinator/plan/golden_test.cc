// The planner's outputs as text, with prose between the cases: testdata/*.txt. A case is a command line, input lines
// if the command takes a table, a line "----", the output, and an empty line.
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/action.h"
#include "coordinator/plan/comms.h"
#include "coordinator/plan/partition.h"
#include "coordinator/plan/recompute.h"
#include "coordinator/plan/schedule.h"
#include "coordinator/plan/simulate.h"
#include "coordinator/plan/table.h"
#include "coordinator/plan/validate.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

struct Case {
  int line = 0;
  std::string command;
  std::vector<std::string> words;                // of the command, without key=value
  std::map<std::string, std::string> arguments;  // key=value
  std::vector<std::string> input;
  std::string expected;

  int Int(const std::string& key) const { return std::stoi(arguments.at(key)); }
  std::vector<double> Numbers(const std::string& key) const {
    std::vector<double> numbers;
    for (const absl::string_view text : absl::StrSplit(arguments.at(key), ',')) {
      numbers.push_back(std::stod(std::string(text)));
    }
    return numbers;
  }
  double NumberOr(const std::string& key, double otherwise) const {
    return arguments.count(key) > 0 ? std::stod(arguments.at(key)) : otherwise;
  }
};

bool IsCommand(const std::string& line) {
  for (const char* word :
       {"schedule ", "forward ", "simulate ", "partition ", "validate ", "communicate ", "recompute "}) {
    if (line.rfind(word, 0) == 0) return true;
  }
  return false;
}

std::vector<Case> ReadCases(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.is_open()) << path;
  std::vector<Case> cases;
  std::string line;
  enum { kProse, kInput, kOutput } state = kProse;
  for (int number = 1; std::getline(file, line); ++number) {
    if (state == kProse && IsCommand(line)) {
      Case& c = cases.emplace_back();
      c.line = number;
      c.command = line;
      for (const std::string& word : std::vector<std::string>(absl::StrSplit(line, ' '))) {
        const size_t equals = word.find('=');
        if (equals == std::string::npos) {
          c.words.push_back(word);
        } else {
          c.arguments[word.substr(0, equals)] = word.substr(equals + 1);
        }
      }
      state = kInput;
    } else if (state == kInput && line == "----") {
      state = kOutput;
    } else if (state == kInput) {
      cases.back().input.push_back(line);
    } else if (state == kOutput && line.empty()) {
      state = kProse;
    } else if (state == kOutput) {
      cases.back().expected += line + "\n";
    }
  }
  EXPECT_NE(state, kInput) << path << ": the last case has no ----";
  return cases;
}

ActionTable ParseTable(const std::vector<std::string>& lines) {
  ActionTable table;
  for (const std::string& line : lines) {
    const absl::StatusOr<ActionList> list = ListFromText(line);
    EXPECT_TRUE(list.ok()) << list.status();
    table.push_back(list.value_or(ActionList()));
  }
  return table;
}

// ranks=N, a stage each; or placement=R,R..., the rank of each stage.
Placement PlacementOf(const Case& c) {
  if (c.arguments.count("placement") == 0) return OneStagePerRank(c.Int("ranks"));
  Placement placement;
  for (const double rank : c.Numbers("placement")) placement.rank_of_stage.push_back(static_cast<int>(rank));
  return placement;
}

// TableText without its cuts; show=R,R...: of these ranks alone.
std::string RowsText(const ActionTable& table, const Case& c) {
  std::vector<double> shown(table.size());
  std::iota(shown.begin(), shown.end(), 0);
  if (c.arguments.count("show") > 0) shown = c.Numbers("show");
  std::string text;
  for (const double rank : shown) absl::StrAppend(&text, "  rank ", rank, ": ", ListText(table.at(rank)), "\n");
  return text;
}

// ranks= micro_batches= [chunks=] [group=] [order=reverse]
absl::StatusOr<Schedule> ScheduleOf(const Case& c) {
  ScheduleRequest request;
  request.name = c.words[1];
  request.ranks = c.Int("ranks");
  request.chunks = static_cast<int>(c.NumberOr("chunks", 1));
  request.micro_batches = c.Int("micro_batches");
  request.group = static_cast<int>(c.NumberOr("group", 0));
  request.reverse = c.arguments.count("order") > 0;
  return MakeSchedule(request);
}

std::string SimulationText(const Simulation& simulation) {
  return absl::StrFormat("makespan %.6g  span %.6g  bubbles: gpipe %.4f  megatron %.4f  zero-bubble %.4f\npeak %s\n",
                         simulation.makespan_us, simulation.span_us, simulation.bubbles.gpipe,
                         simulation.bubbles.megatron, simulation.bubbles.zero_bubble,
                         absl::StrJoin(simulation.peak_micro_batches, "/"));
}

// simulate NAME ranks= micro_batches= forward=F[,F...] backward=B[,B...] [latency=]
std::string RunSimulate(const Case& c) {
  const int ranks = c.Int("ranks"), m = c.Int("micro_batches");
  const std::vector<double> forward = c.Numbers("forward"), backward = c.Numbers("backward");
  PipelineCosts costs;
  costs.num_larger = m;
  costs.links.assign(ranks - 1, {c.NumberOr("latency", 0), 0});
  for (int s = 0; s < ranks; ++s) {
    costs.larger.push_back({.forward_us = forward[s % forward.size()], .backward_us = backward[s % backward.size()]});
  }
  const auto schedule = ScheduleOf(c);
  if (!schedule.ok()) return absl::StrCat(schedule.status().message(), "\n");
  const auto whole = AddCommunication(schedule->table, schedule->placement, m, PassKind::kTraining);
  if (!whole.ok()) return absl::StrCat(whole.status().message(), "\n");
  const auto simulation = Simulate(*whole, schedule->placement, m, costs);
  return simulation.ok() ? SimulationText(*simulation) : absl::StrCat(simulation.status().message(), "\n");
}

// partition uniform|min-variance|makespan stages= costs=C,C... [backward=B,B...]
std::string RunPartition(const Case& c) {
  const std::vector<double> costs = c.Numbers("costs");
  absl::StatusOr<Partition> partition;
  if (c.words[1] == "uniform") partition = UniformPartition(static_cast<int>(costs.size()), c.Int("stages"));
  if (c.words[1] == "min-variance") partition = MinVariancePartition(costs, c.Int("stages"));
  if (c.words[1] == "makespan") partition = MakespanPartition(costs, c.Numbers("backward"), c.Int("stages"));
  if (c.words[1] == "explicit") {
    std::vector<int> sizes;
    for (const double size : c.Numbers("sizes")) sizes.push_back(static_cast<int>(size));
    partition = ExplicitPartition(static_cast<int>(costs.size()), sizes);
  }
  if (!partition.ok()) return absl::StrCat(partition.status().message(), "\n");
  std::vector<int> sizes;
  for (const LayerRange& range : *partition) sizes.push_back(range.size());
  return absl::StrCat("[", absl::StrJoin(sizes, ", "), "]\n");
}

std::string RunCase(const Case& c) {
  const std::string& verb = c.words[0];
  if (verb == "simulate") return RunSimulate(c);
  if (verb == "partition") return RunPartition(c);
  if (verb == "schedule") {
    const auto schedule = ScheduleOf(c);
    return schedule.ok() ? RowsText(schedule->table, c) : absl::StrCat(schedule.status().message(), "\n");
  }
  if (verb == "recompute") {
    const bool all = c.words[1] == "boundary";
    const auto policy = all ? v1::Pipeline::RECOMPUTE_BOUNDARY : v1::Pipeline::RECOMPUTE_EXCEPT_LAST;
    return RowsText(AddRecompute(ParseTable(c.input), policy), c);
  }
  const int m = c.Int("micro_batches");
  const Placement placement = PlacementOf(c);
  if (verb == "forward") {
    const auto table = AddCommunication(ForwardOnlySchedule(placement, m), placement, m, PassKind::kForwardOnly);
    return table.ok() ? TableText(*table) : absl::StrCat(table.status().message(), "\n");
  }
  if (verb == "communicate") {
    const auto table = AddCommunication(ParseTable(c.input), placement, m, PassKind::kTraining);
    return table.ok() ? TableText(*table) : std::string(table.status().message());
  }
  const PassKind pass = c.words.size() > 1 && c.words[1] == "forward" ? PassKind::kForwardOnly : PassKind::kTraining;
  const absl::Status status = ValidateTable(ParseTable(c.input), placement, m, pass);
  return status.ok() ? "valid\n" : std::string(status.message());
}

void CheckFile(const std::string& name, size_t at_least) {
  const std::string path = absl::StrCat("tests/coordinator/plan/testdata/", name);
  const std::vector<Case> cases = ReadCases(path);
  EXPECT_GE(cases.size(), at_least);
  for (const Case& c : cases) {
    EXPECT_EQ(RunCase(c), c.expected) << path << ":" << c.line << ": " << c.command;
  }
}

TEST(GoldenTest, SchedulesAreAsWritten) { CheckFile("schedules.txt", 25); }
TEST(GoldenTest, SchedulesAreTheOnesThatTorchHas) { CheckFile("torch_schedules.txt", 37); }
TEST(GoldenTest, RecomputationStandsWhereItIsWanted) { CheckFile("recompute.txt", 8); }
TEST(GoldenTest, ValidatorNamesRuleRankAndPlace) { CheckFile("validate.txt", 35); }
TEST(GoldenTest, SimulationsAreAsPublished) { CheckFile("simulate.txt", 8); }
TEST(GoldenTest, PartitionsAreAsWritten) { CheckFile("partition.txt", 8); }

}  // namespace
}  // namespace penstock

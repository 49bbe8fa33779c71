// Random runs of the job machine against a simulated cluster: whatever happens in whatever order, its promises hold.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/jobs/job_machine.h"
#include "tests/coordinator/jobs/job_machine_text.h"

namespace penstock {
namespace {

constexpr uint64_t kEpoch = 3;

// A cluster that answers each command once, in random order, sometimes with an error, and loses workers.
class SimulatedCluster {
 public:
  SimulatedCluster(uint64_t seed, JobCourse course)
      : random_(seed),
        course_(course),
        machine_(course),
        alive_(course.ranks, true),
        loaded_(course.ranks, false),
        calls_(course.ranks, 0) {}

  void Run() {
    std::vector<std::string> workers(course_.ranks, "w");
    Feed(Placed{kEpoch, workers});
    for (int i = 0; i < 4000 && !machine_.ended(); ++i) {
      Step();
      if (::testing::Test::HasFatalFailure()) return;
    }
    ASSERT_TRUE(machine_.ended()) << "stuck in " << v1::JobState_Name(machine_.state()) << "\n" << log_;
    for (int r = 0; r < course_.ranks; ++r) {
      EXPECT_FALSE(loaded_[r] && alive_[r]) << "rank " << r << " was never unloaded\n" << log_;
      EXPECT_EQ(calls_[r], 0) << log_;
    }
    if (machine_.state() == v1::FAILED) {
      EXPECT_FALSE(machine_.failure().empty());
      EXPECT_TRUE(faulty_) << log_;
    }
    if (machine_.state() == v1::SUCCEEDED) {
      EXPECT_EQ(machine_.step(), course_.steps) << log_;
      EXPECT_EQ(manifest_step_, course_.steps) << log_;
    }
    EXPECT_EQ(ended_, 1) << log_;
  }

  v1::JobState state() const { return machine_.state(); }

 private:
  int Pick(int n) { return static_cast<int>(random_() % n); }

  void Step() {
    now_ += absl::Milliseconds(Pick(200));
    const int what = Pick(400);
    if (what == 0) return Feed(StopAsked{Pick(2) == 0, "asked"});
    if (what == 1) {
      const int rank = Pick(course_.ranks);
      if (!alive_[rank]) return;
      alive_[rank] = false;
      faulty_ = true;
      return Feed(RankLost{kEpoch, rank, {Pick(2) == 0 ? Fault::Kind::kExit : Fault::Kind::kSilent, "", "gone", {}}});
    }
    if (what < 40 || pending_.empty()) return Vote();
    const int index = Pick(static_cast<int>(pending_.size()));
    const JobEvent event = pending_[index];
    pending_.erase(pending_.begin() + index);
    Feed(event);
  }

  // Votes come while every rank runs a training range; the last one lets the runs end.
  void Vote() {
    if (!voting_) return Feed(Tick());
    if (Pick(300) == 0) {
      faulty_ = true;
      return Feed(Voted{kEpoch, machine_.step() + 1, "not finite"});
    }
    Feed(Voted{kEpoch, machine_.step() + 1, ""});
  }

  void Feed(const JobEvent& event) {
    if (const auto* answered = Answered(event); answered != nullptr) --calls_[*answered];
    if (const auto* unloaded = std::get_if<Unloaded>(&event)) loaded_[unloaded->rank] = false;
    const uint64_t step_before = machine_.step();
    const bool was_running = machine_.state() != v1::PENDING && machine_.state() != v1::STARTING;
    const bool had_ended = machine_.ended();
    const v1::JobState before = machine_.state();
    const std::vector<JobCommand> commands = machine_.Handle(event, now_);
    absl::StrAppend(&log_, event.index(), " -> ", v1::JobState_Name(machine_.state()), ": ", CommandsText(commands),
                    "\n");
    if (was_running) {
      ASSERT_GE(machine_.step(), step_before) << log_;
    }
    if (had_ended) {
      ASSERT_EQ(machine_.state(), before) << log_;
      ASSERT_TRUE(commands.empty()) << log_;
    }
    for (const JobCommand& command : commands) {
      std::visit([this](const auto& c) { Do(c); }, command);
    }
  }

  static const int* Answered(const JobEvent& event) {
    if (const auto* e = std::get_if<Loaded>(&event)) return &e->rank;
    if (const auto* e = std::get_if<RunEnded>(&event)) return &e->rank;
    if (const auto* e = std::get_if<Saved>(&event)) return &e->rank;
    if (const auto* e = std::get_if<Unloaded>(&event)) return &e->rank;
    return nullptr;
  }

  absl::Status Luck() {
    if (Pick(150) != 0) return absl::OkStatus();
    faulty_ = true;
    return Pick(2) == 0 ? absl::UnavailableError("stream reset") : absl::ResourceExhaustedError("out of memory");
  }

  void Call(int rank) {
    ASSERT_TRUE(alive_[rank]) << "command to a dead rank\n" << log_;
    ASSERT_EQ(calls_[rank]++, 0) << "two calls at once\n" << log_;
  }

  void Do(const LoadRank& c) {
    Call(c.rank);
    loaded_[c.rank] = true;
    pending_.push_back(Loaded{kEpoch, c.rank, Luck(), 0});
  }
  void Do(const RunRank& c) {
    Call(c.rank);
    if (c.rank == 0) {
      ASSERT_GE(c.first_pass, next_pass_) << log_;
      next_pass_ = c.first_pass + 1;
    }
    ASSERT_EQ(c.first_pass + 1, next_pass_) << "ranks disagree on the pass\n" << log_;
    if (c.mode == v1::PASS_TRAIN) {
      ASSERT_EQ(c.from, machine_.step() + 1) << log_;
      running_.insert(c.rank);
      voting_ = true;
      return;
    }
    RunEnded event{kEpoch, c.rank, Luck(), machine_.step(), {}, {}};
    if (c.rank == course_.ranks - 1 && c.mode == v1::PASS_GENERATE) event.next_token = 1;
    if (c.rank == course_.ranks - 1 && c.mode == v1::PASS_EVAL) {
      event.eval.emplace();
      event.eval->set_targets(Pick(3));
    }
    pending_.push_back(event);
  }
  void Do(const CancelRank& c) {
    if (running_.erase(c.rank) > 0) pending_.push_back(RunEnded{kEpoch, c.rank, absl::CancelledError(""), 0, {}, {}});
  }
  void Do(const SaveRank& c) {
    Call(c.rank);
    ASSERT_EQ(c.step, machine_.step());
    pending_.push_back(Saved{kEpoch, c.rank, Luck()});
  }
  void Do(const UnloadRank& c) {
    Call(c.rank);
    pending_.push_back(Unloaded{kEpoch, c.rank});
  }
  void Do(const Decide& c) {
    ASSERT_TRUE(voting_) << log_;
    if (!c.last) return;
    voting_ = false;
    if (!c.commit) return;
    for (const int rank : running_) pending_.push_back(RunEnded{kEpoch, rank, Luck(), c.step, {}, {}});
    running_.clear();
  }
  void Do(const DropVotes&) { voting_ = false; }
  void Do(const WriteManifest& c) {
    const absl::Status status = Luck();
    if (status.ok()) manifest_step_ = c.step;
    pending_.push_back(Committed{kEpoch, status});
  }
  void Do(const DropCheckpoint&) {}
  void Do(const ReportEval& c) { ASSERT_EQ(c.step, machine_.step()); }
  void Do(const ReportSample& c) { ASSERT_EQ(c.step, machine_.step()); }
  void Do(const Ended&) { ++ended_; }

  std::mt19937_64 random_;
  const JobCourse course_;
  JobMachine machine_;
  absl::Duration now_;
  std::vector<bool> alive_;
  std::vector<bool> loaded_;
  std::vector<int> calls_;
  std::set<int> running_;
  std::deque<JobEvent> pending_;
  bool voting_ = false;
  bool faulty_ = false;
  uint64_t next_pass_ = 1;
  uint64_t manifest_step_ = ~uint64_t{0};
  int ended_ = 0;
  std::string log_;
};

TEST(JobMachineRandomTest, KeepsItsPromisesWhateverHappens) {
  std::map<v1::JobState, int> ends;
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    std::mt19937_64 random(seed + 1000000);
    JobCourse course;
    course.ranks = 1 + static_cast<int>(random() % 4);
    for (int r = 0; r < course.ranks; ++r) course.rank_stages.push_back(absl::StrCat("stage ", r));
    course.steps = random() % 12;
    course.hash = random() % 4 == 0;
    course.checkpoint_every = random() % 4;
    course.eval_every = random() % 4;
    course.eval_batches = static_cast<uint32_t>(random() % 40);
    course.sample_tokens = static_cast<uint32_t>(random() % 3);
    course.sample_prompt = {1};
    course.context = 2;
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    SimulatedCluster cluster(seed, course);
    cluster.Run();
    if (HasFatalFailure()) return;
    ++ends[cluster.state()];
  }
  // The run says something about every kind of end only if each comes up often.
  EXPECT_GT(ends[v1::SUCCEEDED], 200);
  EXPECT_GT(ends[v1::FAILED], 200);
  EXPECT_GT(ends[v1::STOPPED], 200);
}

}  // namespace
}  // namespace penstock

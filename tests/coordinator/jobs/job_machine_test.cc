// The job machine's decisions as text: each line is an event, the state after it, and the commands.
#include "coordinator/jobs/job_machine.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/coordinator/jobs/job_machine_text.h"

namespace penstock {
namespace {

JobCourse TwoRanks(uint64_t steps) {
  JobCourse course;
  course.steps = steps;
  course.ranks = 2;
  course.rank_stages = {"stage 0", "stage 1"};
  return course;
}

// Feeds a machine and writes down what it does.
class Story {
 public:
  explicit Story(JobCourse course) : machine_(std::move(course)) {}

  Story& Say(const std::string& name, const JobEvent& event) {
    const std::string commands = CommandsText(machine_.Handle(event, now_));
    absl::StrAppend(&text_, "\n", name, " -> ", v1::JobState_Name(machine_.state()), commands.empty() ? "" : ": ",
                    commands);
    return *this;
  }
  Story& Wait(absl::Duration duration) {
    now_ += duration;
    return Say(absl::StrCat("after ", absl::FormatDuration(duration)), Tick());
  }
  Story& Place() { return Say("placed", Placed{7, {"w0, pid 10 on h", "w1, pid 11 on h"}}); }
  Story& Load(uint64_t step = 0) {
    Say("loaded 0", Loaded{7, 0, absl::OkStatus(), step});
    return Say("loaded 1", Loaded{7, 1, absl::OkStatus(), step});
  }
  Story& Vote(uint64_t step) { return Say(absl::StrCat("votes of ", step), Voted{7, step, ""}); }
  Story& RunsEnd(uint64_t step) {
    Say("run 0 ended", RunEnded{7, 0, absl::OkStatus(), step, {}, {}});
    return Say("run 1 ended", RunEnded{7, 1, absl::OkStatus(), step, {}, {}});
  }
  Story& Saves() {
    Say("saved 0", Saved{7, 0, absl::OkStatus()});
    return Say("saved 1", Saved{7, 1, absl::OkStatus()});
  }
  Story& Commit() { return Say("committed", Committed{7, absl::OkStatus()}); }
  Story& Unloads() {
    Say("unloaded 0", Unloaded{7, 0});
    return Say("unloaded 1", Unloaded{7, 1});
  }
  Story& Forget() {
    text_.clear();
    return *this;
  }

  const std::string& text() const { return text_; }
  const JobMachine& machine() const { return machine_; }

 private:
  JobMachine machine_;
  absl::Duration now_ = absl::Seconds(50);
  std::string text_;
};

TEST(JobMachineTest, TrainsSavesAndFreesItsWorkers) {
  Story story(TwoRanks(2));
  story.Place().Load().Vote(1).Vote(2).RunsEnd(2).Saves().Commit().Unloads();
  EXPECT_EQ(story.text(), R"(
placed -> STARTING: load0 load1
loaded 0 -> STARTING
loaded 1 -> RUNNING: train0[1..2]@1 train1[1..2]@1
votes of 1 -> RUNNING: commit[1]
votes of 2 -> RUNNING: commit[2,last]
run 0 ended -> RUNNING
run 1 ended -> CHECKPOINTING: save0[2] save1[2]
saved 0 -> CHECKPOINTING
saved 1 -> CHECKPOINTING: manifest[2]
committed -> CHECKPOINTING: unload0 unload1
unloaded 0 -> CHECKPOINTING
unloaded 1 -> SUCCEEDED: ended)");
}

TEST(JobMachineTest, WritesTheInitialCheckpointOfZeroSteps) {
  Story story(TwoRanks(0));
  story.Place().Load().Saves().Commit().Unloads();
  EXPECT_EQ(story.text(), R"(
placed -> STARTING: load0 load1
loaded 0 -> STARTING
loaded 1 -> CHECKPOINTING: save0[0] save1[0]
saved 0 -> CHECKPOINTING
saved 1 -> CHECKPOINTING: manifest[0]
committed -> CHECKPOINTING: unload0 unload1
unloaded 0 -> CHECKPOINTING
unloaded 1 -> SUCCEEDED: ended)");
}

// Ranges end at the next multiple of eval.every and checkpoint.every; pass numbers never repeat.
TEST(JobMachineTest, StopsAtEachBoundaryForWhatIsDue) {
  JobCourse course = TwoRanks(5);
  course.eval_every = 2;
  course.eval_batches = 18;
  course.checkpoint_every = 3;
  course.sample_tokens = 2;
  course.sample_prompt = {65, 66};
  course.context = 3;
  Story story(course);
  story.Place().Load().Vote(1).Vote(2).Forget().RunsEnd(2);
  v1::EvalSums sums;
  sums.set_loss_sum(6);
  sums.set_targets(4);
  for (int part = 0; part < 2; ++part) {
    story.Say("eval 0 ended", RunEnded{7, 0, absl::OkStatus(), 2, {}, {}});
    story.Say("eval 1 ended", RunEnded{7, 1, absl::OkStatus(), 2, sums, {}});
  }
  for (int64_t token = 67; token < 69; ++token) {
    story.Say("token 0 ended", RunEnded{7, 0, absl::OkStatus(), 2, {}, {}});
    story.Say("token 1 ended", RunEnded{7, 1, absl::OkStatus(), 2, {}, token});
  }
  story.Vote(3).RunsEnd(3).Saves().Commit();
  EXPECT_EQ(story.text(), R"(
run 0 ended -> RUNNING
run 1 ended -> RUNNING: eval0[0..15]@3 eval1[0..15]@3
eval 0 ended -> RUNNING
eval 1 ended -> RUNNING: eval0[16..17]@19 eval1[16..17]@19
eval 0 ended -> RUNNING
eval 1 ended -> RUNNING: report-eval[2: 12/8] generate0[65,66]@21 generate1[65,66]@21
token 0 ended -> RUNNING
token 1 ended -> RUNNING: generate0[65,66,67]@22 generate1[65,66,67]@22
token 0 ended -> RUNNING
token 1 ended -> RUNNING: report-sample[2: 65,66,67,68] train0[3..3]@23 train1[3..3]@23
votes of 3 -> RUNNING: commit[3,last]
run 0 ended -> RUNNING
run 1 ended -> CHECKPOINTING: save0[3] save1[3]
saved 0 -> CHECKPOINTING
saved 1 -> CHECKPOINTING: manifest[3]
committed -> RUNNING: train0[4..4]@24 train1[4..4]@24)");
}

TEST(JobMachineTest, RunsStepByStepWhereEveryStepIsHashed) {
  JobCourse course = TwoRanks(9);
  course.hash = true;
  Story story(course);
  story.Place().Load().Vote(1).RunsEnd(1);
  EXPECT_NE(story.text().find("train0[1..1]@1#"), std::string::npos);
  EXPECT_NE(story.text().find("train0[2..2]@2#"), std::string::npos);
}

TEST(JobMachineTest, StopEndsTheStepAndLeavesACheckpoint) {
  Story story(TwoRanks(100));
  story.Place().Load().Vote(1).Forget();
  story.Say("stop", StopAsked{false, "asked for"}).Vote(2).RunsEnd(2).Saves().Commit().Unloads();
  EXPECT_EQ(story.text(), R"(
stop -> STOPPING
votes of 2 -> STOPPING: commit[2,last]
run 0 ended -> STOPPING
run 1 ended -> STOPPING: save0[2] save1[2]
saved 0 -> STOPPING
saved 1 -> STOPPING: manifest[2]
committed -> STOPPING: unload0 unload1
unloaded 0 -> STOPPING
unloaded 1 -> STOPPED: ended)");
  EXPECT_EQ(story.machine().reason(), "asked for; submit it again with --resume to go on from step 2");
}

TEST(JobMachineTest, StopWithoutCheckpointSavesNothing) {
  Story story(TwoRanks(100));
  story.Place().Load().Say("stop", StopAsked{true, ""}).Vote(1).Forget().RunsEnd(1).Unloads();
  EXPECT_EQ(story.text(), R"(
run 0 ended -> STOPPING
run 1 ended -> STOPPING: unload0 unload1
unloaded 0 -> STOPPING
unloaded 1 -> STOPPED: ended)");
}

TEST(JobMachineTest, StopInTheQueueEndsAtOnceAndWhileLoadingSavesNothing) {
  Story queued(TwoRanks(3));
  queued.Say("stop", StopAsked{false, "asked for"});
  EXPECT_EQ(queued.text(), "\nstop -> STOPPED: ended");
  // It said "--resume to go on" although there was nothing to go on from.
  EXPECT_EQ(queued.machine().reason(), "asked for; nothing was saved");
  Story loading(TwoRanks(3));
  loading.Place().Say("stop", StopAsked{false, ""}).Forget().Load().Unloads();
  EXPECT_EQ(loading.text(), R"(
loaded 0 -> STOPPING
loaded 1 -> STOPPING: unload0 unload1
unloaded 0 -> STOPPING
unloaded 1 -> STOPPED: ended)");
}

// The neighbour's broken stream arrives first, but the launcher's word on the process that died is the cause.
TEST(JobMachineTest, NamesTheProcessThatEndedBeforeTheStreamsThatBroke) {
  Story story(TwoRanks(100));
  story.Place().Load().Forget();
  story.Say("run 0 broke", RunEnded{7, 0, absl::UnavailableError("stream reset by stage 1"), 0, {}, {}});
  story.Say("run 1 broke", RunEnded{7, 1, absl::UnavailableError("socket closed"), 0, {}, {}});
  story.Wait(absl::Milliseconds(20));
  story.Say("worker 1 lost", RankLost{7, 1, {Fault::Kind::kExit, "", "killed by signal 9 (SIGKILL)", {"last words"}}});
  story.Say("unloaded 0", Unloaded{7, 0});
  EXPECT_EQ(story.text(), R"(
run 0 broke -> STOPPING: drop-votes cancel1
run 1 broke -> STOPPING
after 20ms -> STOPPING
worker 1 lost -> STOPPING: unload0
unloaded 0 -> FAILED: ended)");
  EXPECT_EQ(story.machine().reason(), "stage 1 (worker w1, pid 11 on h): killed by signal 9 (SIGKILL)");
  const std::vector<std::string> lines = {"stage 1 (worker w1, pid 11 on h): killed by signal 9 (SIGKILL)",
                                          "  | last words",
                                          "then: stage 0 (worker w0, pid 10 on h): stream reset by stage 1",
                                          "then: stage 1 (worker w1, pid 11 on h): socket closed"};
  EXPECT_EQ(story.machine().failure(), lines);
}

TEST(JobMachineTest, WaitsForABetterCauseNoLongerThanAWorkerTakesToBeLost) {
  Story story(TwoRanks(100));
  story.Place().Load();
  story.Say("run 0 broke", RunEnded{7, 0, absl::UnavailableError("stream reset"), 0, {}, {}}).Forget();
  story.Say("run 1 cancelled", RunEnded{7, 1, absl::CancelledError(""), 0, {}, {}});
  story.Wait(absl::Milliseconds(2200)).Wait(absl::Milliseconds(100)).Unloads();
  EXPECT_EQ(story.text(), R"(
run 1 cancelled -> STOPPING
after 2.2s -> STOPPING
after 100ms -> STOPPING: unload0 unload1
unloaded 0 -> STOPPING
unloaded 1 -> FAILED: ended)");
  EXPECT_EQ(story.machine().failure(), std::vector<std::string>{"stage 0 (worker w0, pid 10 on h): stream reset"});
}

TEST(JobMachineTest, ARanksOwnErrorIsNamedAfterAShortGrace) {
  Story story(TwoRanks(100));
  story.Place().Load();
  story.Say("out of memory",
            RunEnded{7, 1, absl::ResourceExhaustedError("stage 1, micro-batch 3: out of memory"), 0, {}, {}});
  story.Say("cancelled", RunEnded{7, 0, absl::CancelledError(""), 0, {}, {}}).Wait(absl::Milliseconds(300)).Unloads();
  EXPECT_EQ(story.machine().state(), v1::FAILED);
  EXPECT_EQ(story.machine().reason(), "stage 1 (worker w1, pid 11 on h): stage 1, micro-batch 3: out of memory");
}

TEST(JobMachineTest, AStepWithANonFiniteGradientIsRefusedAndFailsTheJob) {
  Story story(TwoRanks(100));
  story.Place().Load().Vote(1).Forget();
  story.Say("votes of 2", Voted{7, 2, "the gradient of h.0.ln_1.weight is not finite"});
  story.Say("run 0 ended", RunEnded{7, 0, absl::CancelledError(""), 1, {}, {}});
  story.Say("run 1 ended", RunEnded{7, 1, absl::OkStatus(), 1, {}, {}}).Unloads();
  EXPECT_EQ(story.text(), R"(
votes of 2 -> STOPPING: refuse[2,last] drop-votes cancel0 cancel1
run 0 ended -> STOPPING
run 1 ended -> STOPPING: unload0 unload1
unloaded 0 -> STOPPING
unloaded 1 -> FAILED: ended)");
  EXPECT_EQ(story.machine().reason(), "step 2: the gradient of h.0.ln_1.weight is not finite");
  EXPECT_EQ(story.machine().step(), 1u);
}

TEST(JobMachineTest, ACheckpointOnTheWayThatFailsIsAWarningAndTheLastOneAFailure) {
  JobCourse course = TwoRanks(2);
  course.checkpoint_every = 1;
  Story story(course);
  story.Place().Load().Vote(1).RunsEnd(1).Forget();
  story.Say("saved 0", Saved{7, 0, absl::OkStatus()});
  story.Say("disk full", Saved{7, 1, absl::ResourceExhaustedError("no space left")});
  EXPECT_EQ(story.machine().reason(),
            "the checkpoint of step 1 could not be written: stage 1 (worker w1, pid 11 on h): no space left");
  story.Vote(2).RunsEnd(2).Saves();
  story.Say("not committed", Committed{7, absl::ResourceExhaustedError("no space left")});
  story.Wait(absl::Milliseconds(300)).Unloads();
  EXPECT_EQ(story.text(), R"(
saved 0 -> CHECKPOINTING
disk full -> RUNNING: drop-checkpoint[1] train0[2..2]@2 train1[2..2]@2
votes of 2 -> RUNNING: commit[2,last]
run 0 ended -> RUNNING
run 1 ended -> CHECKPOINTING: save0[2] save1[2]
saved 0 -> CHECKPOINTING
saved 1 -> CHECKPOINTING: manifest[2]
not committed -> STOPPING: drop-votes
after 300ms -> STOPPING: unload0 unload1
unloaded 0 -> STOPPING
unloaded 1 -> FAILED: ended)");
}

TEST(JobMachineTest, AWorkerLostWhileSavingDropsTheUnfinishedCheckpoint) {
  Story story(TwoRanks(1));
  story.Place().Load().Vote(1).RunsEnd(1).Forget();
  story.Say("worker 0 lost", RankLost{7, 0, {Fault::Kind::kExit, "", "exited with code 1", {}}});
  story.Say("saved 0", Saved{7, 0, absl::CancelledError("")});
  story.Say("saved 1", Saved{7, 1, absl::OkStatus()}).Say("unloaded 1", Unloaded{7, 1});
  // The folder was removed before the survivor was unloaded, which could still write to it.
  EXPECT_EQ(story.text(), R"(
worker 0 lost -> STOPPING: drop-votes cancel0 cancel1
saved 0 -> STOPPING
saved 1 -> STOPPING: unload1
unloaded 1 -> FAILED: drop-checkpoint[1] ended)");
}

TEST(JobMachineTest, AWorkerLostAfterTheLastCheckpointChangesNothing) {
  Story story(TwoRanks(1));
  story.Place().Load().Vote(1).RunsEnd(1).Saves().Commit().Forget();
  story.Say("worker 0 lost", RankLost{7, 0, {Fault::Kind::kExit, "", "exited with code 1", {}}});
  story.Unloads();
  EXPECT_EQ(story.machine().state(), v1::SUCCEEDED);
}

TEST(JobMachineTest, ACheckpointBeyondTheLastStepIsAnError) {
  Story story(TwoRanks(5));
  story.Place().Load(9).Wait(absl::Milliseconds(300)).Unloads();
  EXPECT_EQ(story.machine().state(), v1::FAILED);
  EXPECT_EQ(story.machine().reason(),
            "the checkpoint it goes on from is at step 9, beyond train.steps 5; raise train.steps");
}

TEST(JobMachineTest, GoesOnAfterTheStepThatWasLoaded) {
  Story story(TwoRanks(5));
  story.Place().Load(3);
  EXPECT_NE(story.text().find("train0[4..5]@1"), std::string::npos) << story.text();
}

TEST(JobMachineTest, IgnoresAnswersOfAnotherEpoch) {
  Story story(TwoRanks(5));
  story.Place().Forget();
  story.Say("stale", Loaded{6, 0, absl::InternalError("old"), 0});
  story.Say("stale", RankLost{6, 0, {Fault::Kind::kExit, "", "old", {}}});
  EXPECT_EQ(story.text(), "\nstale -> STARTING\nstale -> STARTING");
}

TEST(JobMachineTest, AWorkerLostWhileTheLastCheckpointIsCompletedChangesNothing) {
  // All ranks had saved their parts, the checkpoint became complete, and the job was called FAILED.
  Story story(TwoRanks(1));
  story.Place().Load().Vote(1).RunsEnd(1).Saves().Forget();
  story.Say("worker 0 lost", RankLost{7, 0, {Fault::Kind::kExit, "", "exited with code 1", {}}});
  story.Commit().Say("unloaded 1", Unloaded{7, 1});
  EXPECT_EQ(story.text(), R"(
worker 0 lost -> CHECKPOINTING
committed -> CHECKPOINTING: unload1
unloaded 1 -> SUCCEEDED: ended)");
  Story stopped(TwoRanks(9));
  stopped.Place().Load().Say("stop", StopAsked{false, "asked"}).Vote(1).RunsEnd(1).Saves();
  stopped.Say("worker 0 lost", RankLost{7, 0, {Fault::Kind::kExit, "", "exited with code 1", {}}});
  stopped.Commit().Say("unloaded 1", Unloaded{7, 1});
  EXPECT_EQ(stopped.machine().state(), v1::STOPPED);
}

TEST(JobMachineTest, StopWithoutCheckpointIsNoFailureWhereOneUnderWayCannotBeWritten) {
  // The checkpoint that was being written when the stop came failed the job, although nobody wanted it any more.
  JobCourse course = TwoRanks(9);
  course.checkpoint_every = 1;
  Story story(course);
  story.Place().Load().Vote(1).RunsEnd(1).Say("stop", StopAsked{true, "asked"}).Forget();
  story.Say("disk full", Saved{7, 0, absl::ResourceExhaustedError("no space left")});
  story.Say("saved 1", Saved{7, 1, absl::OkStatus()}).Unloads();
  EXPECT_EQ(story.text(), R"(
disk full -> STOPPING
saved 1 -> STOPPING: drop-checkpoint[1] unload0 unload1
unloaded 0 -> STOPPING
unloaded 1 -> STOPPED: ended)");
}

}  // namespace
}  // namespace penstock

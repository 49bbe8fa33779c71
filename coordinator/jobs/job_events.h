// What happens to a job and what must be done about it: the job machine's alphabet. Thread-compatible.
#ifndef PENSTOCK_COORDINATOR_JOBS_JOB_EVENTS_H_
#define PENSTOCK_COORDINATOR_JOBS_JOB_EVENTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/jobs/root_cause.h"
#include "proto/worker.pb.h"

namespace penstock {

// ---- events

// The queue cannot start it yet.
struct Waits {
  std::string reason;
};
// The queue has given it workers; rank r runs on workers[r], a text for people ("localhost/cpu.1, pid 77 on
// localhost").
struct Placed {
  uint64_t epoch = 0;
  std::vector<std::string> workers;
};
// Answers of ranks to the commands of the same names. `epoch` as in the command; a stale one is ignored.
struct Loaded {
  uint64_t epoch = 0;
  int rank = 0;
  absl::Status status;
  uint64_t step = 0;
  std::optional<uint64_t> eval_batches;  // how many the data has, from ranks that read it
};
struct RunEnded {
  uint64_t epoch = 0;
  int rank = 0;
  absl::Status status;
  uint64_t completed_step = 0;
  std::optional<v1::EvalSums> eval;
  std::optional<int64_t> next_token;
};
struct Saved {
  uint64_t epoch = 0;
  int rank = 0;
  absl::Status status;
};
struct Unloaded {
  uint64_t epoch = 0;
  int rank = 0;
};
// The checkpoint's manifest has been written, or could not be.
struct Committed {
  uint64_t epoch = 0;
  absl::Status status;
};
// Every rank has voted on a step. `fault`: empty when all votes were finite, else what was not.
struct Voted {
  uint64_t epoch = 0;
  uint64_t step = 0;
  std::string fault;
};
// The worker of a rank is gone. fault.where is filled in by the machine.
struct RankLost {
  uint64_t epoch = 0;
  int rank = 0;
  Fault fault;
};
struct StopAsked {
  bool no_checkpoint = false;
  std::string reason;  // "stopped"; the machine adds where the job can go on
};
// Time has passed.
struct Tick {};

using JobEvent =
    std::variant<Waits, Placed, Loaded, RunEnded, Saved, Unloaded, Committed, Voted, RankLost, StopAsked, Tick>;

// ---- commands

struct LoadRank {
  int rank = 0;
};
struct RunRank {
  int rank = 0;
  v1::PassMode mode = v1::PASS_TRAIN;
  uint64_t first_pass = 0;
  uint64_t from = 0;
  uint64_t to = 0;
  bool hash = false;
  std::vector<int64_t> tokens;
  uint64_t seed = 0;
};
// Cancels the call that the rank has not answered yet; the call's own event still comes.
struct CancelRank {
  int rank = 0;
};
struct SaveRank {
  int rank = 0;
  uint64_t step = 0;
};
struct UnloadRank {
  int rank = 0;
};
// Answers the votes of `step`.
struct Decide {
  uint64_t step = 0;
  bool commit = true;
  bool last = false;
};
// Answers votes that wait, and those to come, with Cancelled.
struct DropVotes {
  std::string reason;
};
// Writes the manifest of the step that every rank has saved, makes it a checkpoint, prunes old ones.
struct WriteManifest {
  uint64_t step = 0;
};
// Removes the temporary folder of a checkpoint that was not finished.
struct DropCheckpoint {
  uint64_t step = 0;
};
struct ReportEval {
  uint64_t step = 0;
  v1::EvalSums sums;
};
struct ReportSample {
  uint64_t step = 0;
  std::vector<int64_t> tokens;
};
// The job has ended: its workers are free.
struct Ended {};

using JobCommand = std::variant<LoadRank, RunRank, CancelRank, SaveRank, UnloadRank, Decide, DropVotes, WriteManifest,
                                DropCheckpoint, ReportEval, ReportSample, Ended>;

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_JOBS_JOB_EVENTS_H_

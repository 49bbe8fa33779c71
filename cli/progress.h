// The progress of a job on one line, and when to show it again. Pure: time comes in as an argument.
#ifndef PENSTOCK_CLI_PROGRESS_H_
#define PENSTOCK_CLI_PROGRESS_H_

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "proto/coordinator.pb.h"

namespace penstock {

// Whether the job has done a step since it was started: only then there are a loss, a rate and the like.
bool HasFigures(const v1::JobStatus& job);

// train  62% ############........  12400/20000  loss 3.142  lr 2.1e-04  311k tok/s  bubble 17%  ETA 1h46m
// A job that does not run shows how long and for what it waits. What does not fit into `width` is left out, the least
// important first. No newline. Args: width: 0: no bound.
std::string ProgressLine(const v1::JobStatus& job, int width, absl::Time now);

// Decides what to write when a job's status arrives. On a terminal: one line, drawn over itself, calmly. Elsewhere: a
// plain line when the state changes, and now and then.
// Thread-compatible.
class ProgressDisplay {
 public:
  // Args: terminal: lines may be drawn over. width: of the terminal; 0: no bound.
  ProgressDisplay(bool terminal, int width) : terminal_(terminal), width_(width) {}

  // Returns what to write to standard error; may be empty.
  std::string Update(const v1::JobStatus& job, absl::Time now);

  // Returns what removes the drawn line, so that other text can be written. The next Update draws it again.
  std::string Clear();

 private:
  const bool terminal_;
  const int width_;
  bool drawn_ = false;
  std::optional<v1::JobState> state_;
  std::string reason_;
  uint64_t eval_step_ = 0;
  absl::Time shown_at_ = absl::InfinitePast();
};

}  // namespace penstock

#endif  // PENSTOCK_CLI_PROGRESS_H_

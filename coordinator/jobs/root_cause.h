// Which of several faults was the cause, and which are its consequences. Pure; thread-compatible.
// Source: docs/recovery.md, "Root cause".
#ifndef PENSTOCK_COORDINATOR_JOBS_ROOT_CAUSE_H_
#define PENSTOCK_COORDINATOR_JOBS_ROOT_CAUSE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace penstock {

// Something that went wrong in a job. `kind` says how much it explains by itself, the most first: a process that
// ended explains why its neighbours' streams broke, never the reverse.
struct Fault {
  enum class Kind {
    kExit = 0,       // a worker's process ended; the launcher saw how
    kNotFinite = 1,  // NaN or infinity in a gradient or in the loss
    kError = 2,      // a rank reported an error of its own: out of memory, a bad file, a checksum
    kSilent = 3,     // a worker's heartbeats stopped
    kPeer = 4,       // a rank, or the coordinator, lost the connection to somebody: a consequence, as a rule
  };
  Kind kind = Kind::kError;
  std::string where;                  // "stage 1 (worker localhost/cpu.1, pid 77 on localhost)"; empty: the job
  std::string what;                   // "killed by signal 9 (SIGKILL)"
  std::vector<std::string> evidence;  // the last lines of the worker's log
};

// kPeer for the codes that tell of another process's end (Unavailable, DeadlineExceeded, Aborted, Cancelled,
// FailedPrecondition: a neighbour that has already dropped the job), else kError.
Fault::Kind KindOf(const absl::Status& status);

// How long a job whose first fault came at `first` waits before it names the cause, so that a better explanation
// can still come in. A process's end needs none; an error of a rank's own a short one; a broken connection
// the time after which a silent worker counts as lost.
// Args:    faults: those so far, not empty.
// Returns: the time on the caller's clock from which the cause may be named.
absl::Duration NameableAt(const std::vector<Fault>& faults, absl::Duration first, absl::Duration lost_after);

// The faults as lines for a person: the cause first, its evidence, then the consequences in their order of arrival.
// Args:    faults: in the order of arrival, not empty.
// Returns: at least one line; the first is the cause.
std::vector<std::string> FailureLines(std::vector<Fault> faults);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_JOBS_ROOT_CAUSE_H_

// When a worker process that ended unasked is started again: after a pause that doubles, and not for ever.
// Thread-compatible: the core guards it. Reads no clock.
#ifndef PENSTOCK_COORDINATOR_RELAUNCH_H_
#define PENSTOCK_COORDINATOR_RELAUNCH_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace penstock {

class Relaunch {
 public:
  void Started(const std::string& id, absl::Duration now);
  // Returns false where it will not be started again: it ended early too many times in a row.
  bool Ended(const std::string& id, absl::Duration now);
  // The ids whose time has come; each is named once.
  std::vector<std::string> TakeDue(absl::Duration now);

 private:
  struct Process {
    absl::Duration started;
    int early_ends = 0;
    std::optional<absl::Duration> due;
  };
  std::map<std::string, Process> processes_;
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_RELAUNCH_H_

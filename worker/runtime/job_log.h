// Where the worker's code says something about a job. Thread-safe.
#ifndef PENSTOCK_WORKER_RUNTIME_JOB_LOG_H_
#define PENSTOCK_WORKER_RUNTIME_JOB_LOG_H_

#include <string>

#include "absl/strings/string_view.h"

namespace penstock {

class JobLog {
 public:
  virtual ~JobLog() = default;
  // One line, for the process's log and for the job's log at the coordinator. Does not block.
  virtual void Write(const std::string& job, int rank, absl::string_view text) = 0;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_JOB_LOG_H_

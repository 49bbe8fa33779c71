// The project's log: glog, written to stderr. Include this, never glog itself (worker/torch/torch.h is the other
// place, since torch defines the same macros). Thread-safe.
#ifndef PENSTOCK_COMMON_LOGGING_H_
#define PENSTOCK_COMMON_LOGGING_H_

#include <glog/logging.h>

namespace penstock {

// Call once, first thing in main. `program` is argv[0]. Logs go to stderr, INFO and above.
void StartLogging(const char* program);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_LOGGING_H_

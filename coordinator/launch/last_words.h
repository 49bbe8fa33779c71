// What of a process's log tells why it ended. Pure.
#ifndef PENSTOCK_COORDINATOR_LAUNCH_LAST_WORDS_H_
#define PENSTOCK_COORDINATOR_LAUNCH_LAST_WORDS_H_

#include <string>
#include <vector>

namespace penstock {

// The lines worth showing of a log's end: its errors and what was written past the log (a message of the C++ runtime,
// of the system, a stack trace), the latest of them; then the last lines whatever they are. Each once, in their order.
// Args:    lines: the end of the log, oldest first; lines of the log begin with glog's letter for their severity.
// Returns: some ten lines at most.
std::vector<std::string> LastWords(const std::vector<std::string>& lines);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_LAUNCH_LAST_WORDS_H_

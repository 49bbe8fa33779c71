// What commands that talk to a coordinator have in common. Thread-compatible.
#ifndef PENSTOCK_CLI_REACH_H_
#define PENSTOCK_CLI_REACH_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "cli/client.h"
#include "cli/console.h"
#include "proto/coordinator.pb.h"

namespace penstock {

// A word as a shell takes it back unchanged: as it is where that is safe, else in single quotes.
std::string ShellWord(absl::string_view word);

// A command to try next, as the user would type it: "penstock status kjv-1 --addr 127.0.0.1:7500".
// Args: words: what follows the program, one argument each; quoted where a shell would take them apart.
//       address: of the coordinator that it should reach, said only where it is not the one reached without saying.
std::string Suggest(const Console& console, const std::vector<std::string>& words, absl::string_view address = "");

// What to do about a job of a cluster that failed: its log, and how to go on from its checkpoint, if it has one.
// Args: address: of its coordinator.
std::string SuggestAfterFailure(const Console& console, const v1::JobStatus& job, absl::string_view address);

// The name of a file for a suggested command: that of the example where one stands in configs/ of the working folder,
// as in a checkout, else `name`.
std::string ExampleFile(const std::string& example, const std::string& name);

// Says why an address cannot be used and returns the exit code; nullopt if it can.
std::optional<int> RefuseAddress(const std::string& address, Console* console);

// Says why a call failed, and what to do next. Returns the exit code.
int FailCall(const absl::Status& status, Console* console);

// Says why a file of the user's cannot be used. Returns the exit code.
int FailFile(const absl::Status& status, Console* console);

// The width for a table on standard output: the terminal's, or 0 (as wide as it is) where it is not a terminal.
int TableWidth(const Console& console);

// What Ctrl-C does to a command that only watches: the first ends its call, the second the process.
void CancelOrExit(Canceller* canceller, int count);

}  // namespace penstock

#endif  // PENSTOCK_CLI_REACH_H_

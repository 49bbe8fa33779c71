// Where the command's output goes: data on standard output, talk on standard error. Thread-compatible.
#ifndef PENSTOCK_CLI_CONSOLE_H_
#define PENSTOCK_CLI_CONSOLE_H_

#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "cli/exit_code.h"

namespace penstock {

struct ConsoleTraits {
  std::string program = "penstock";  // as the user calls it, for commands that are suggested
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  bool colour = false;  // on standard error
  int width = 0;        // of the terminal; 0: none, so no bound
};

class Console {
 public:
  Console(std::ostream* out, std::ostream* err, ConsoleTraits traits) : out_(*out), err_(*err), traits_(traits) {}

  // The process's own streams. No colour without a terminal, or when NO_COLOR is set and not empty, or TERM is "dumb".
  // Args: program: argv[0].
  static Console OfProcess(const std::string& program);

  const ConsoleTraits& traits() const { return traits_; }

  // Writes to standard output as it is, and flushes.
  void Data(absl::string_view text);

  // Writes a line to standard error.
  void Talk(absl::string_view line);

  // Writes to standard error as it is, and flushes; for progress.
  void Raw(absl::string_view text);

  // Says what failed and what to do next. A message that is a list of "file:line:column: error: ..." stays as it is.
  // Returns `code` as main's result.
  int Fail(ExitCode code, absl::string_view cause, absl::string_view next = "");

 private:
  std::ostream& out_;
  std::ostream& err_;
  const ConsoleTraits traits_;
};

}  // namespace penstock

#endif  // PENSTOCK_CLI_CONSOLE_H_

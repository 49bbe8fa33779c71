#include "cli/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace penstock {
namespace {

int TerminalWidth(int fd) {
  winsize size{};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

bool IsSet(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

}  // namespace

Console Console::OfProcess(const std::string& program) {
  ConsoleTraits traits{.out_is_terminal = isatty(STDOUT_FILENO) == 1, .err_is_terminal = isatty(STDERR_FILENO) == 1};
  // A wrapper in a checkout is called by its path; a program that was found by PATH is called by its name.
  if (absl::StartsWith(program, ".")) traits.program = program;
  const char* const term = std::getenv("TERM");
  const bool dumb = term != nullptr && absl::string_view(term) == "dumb";
  traits.colour = traits.err_is_terminal && !IsSet("NO_COLOR") && !dumb;
  if (traits.out_is_terminal || traits.err_is_terminal) {
    traits.width = TerminalWidth(traits.out_is_terminal ? STDOUT_FILENO : STDERR_FILENO);
  }
  if (dumb) traits.err_is_terminal = false;  // it cannot draw over a line
  return Console(&std::cout, &std::cerr, traits);
}

void Console::Data(absl::string_view text) { out_ << text << std::flush; }

void Console::Talk(absl::string_view line) { err_ << line << "\n" << std::flush; }

void Console::Raw(absl::string_view text) { err_ << text << std::flush; }

int Console::Fail(ExitCode code, absl::string_view cause, absl::string_view next) {
  cause = absl::StripTrailingAsciiWhitespace(cause);
  const absl::string_view red = traits_.colour ? "\x1b[31m" : "", plain = traits_.colour ? "\x1b[0m" : "";
  if (absl::StrContains(cause, ": error: ")) {
    Talk(cause);
  } else {
    Talk(absl::StrCat(red, "error: ", plain, cause));
  }
  if (!next.empty()) Talk(absl::StrCat("next: ", next));
  return static_cast<int>(code);
}

}  // namespace penstock

#include "cli/reach.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "cli/standard_address.h"
#include "common/channel.h"

namespace penstock {

std::string Suggest(const Console& console, absl::string_view arguments, absl::string_view address) {
  const bool said = address.empty() || address == StandardAddress();
  return absl::StrCat(console.traits().program, " ", arguments, said ? "" : " --addr ", said ? "" : address);
}

std::optional<int> RefuseAddress(const std::string& address, Console* console) {
  const absl::Status status = CheckLoopback(address);
  if (status.ok()) return std::nullopt;
  return console->Fail(ExitCode::kBadUsage, status.message(), "--addr HOST:PORT, or PENSTOCK_ADDR");
}

int FailCall(const absl::Status& status, Console* console) {
  const ExitCode code = ExitCodeOf(status);
  std::string next;
  if (code == ExitCode::kUnreachable) {
    next = absl::StrCat(Suggest(*console, "up -f cluster.yaml"), " starts one; --addr HOST:PORT names another");
  } else if (code == ExitCode::kNotFound) {
    next = Suggest(*console, "status");
  }
  return console->Fail(code, status.message(), next);
}

int FailFile(const absl::Status& status, Console* console) {
  return console->Fail(ExitCode::kBadUsage, status.message());
}

int TableWidth(const Console& console) { return console.traits().out_is_terminal ? console.traits().width : 0; }

void CancelOrExit(Canceller* canceller, int count) {
  if (count > 1) _exit(static_cast<int>(ExitCode::kInterrupted));
  canceller->Cancel();
}

}  // namespace penstock

#include "cli/reach.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "cli/standard_address.h"
#include "common/channel.h"
#include "common/file.h"

namespace penstock {

std::string ShellWord(absl::string_view word) {
  constexpr absl::string_view kSafe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@%_-+=:,./";
  if (!word.empty() && word.find_first_not_of(kSafe) == absl::string_view::npos) return std::string(word);
  return absl::StrCat("'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
}

std::string Suggest(const Console& console, const std::vector<std::string>& words, absl::string_view address) {
  std::string command = ShellWord(console.traits().program);
  for (const std::string& word : words) absl::StrAppend(&command, " ", ShellWord(word));
  if (!address.empty() && address != StandardAddress()) absl::StrAppend(&command, " --addr ", address);
  return command;
}

std::string SuggestAfterFailure(const Console& console, const v1::JobStatus& job, absl::string_view address) {
  std::string next = absl::StrCat(Suggest(console, {"logs", job.job()}, address), " shows its log");
  const std::string& from = job.checkpoint().empty() ? job.resumed_from() : job.checkpoint();
  if (from.empty() || job.run_dir().empty()) return next;
  // The job as it ran: its file may have changed since, and --set is in no file.
  absl::StrAppend(&next, "; ",
                  Suggest(console, {"submit", "-f", JoinPath(job.run_dir(), "job.yaml"), "--resume"}, address),
                  " goes on from ", from);
  return next;
}

std::string ExampleFile(const std::string& example, const std::string& name) {
  const std::string path = JoinPath("configs", example);
  return FileExists(path) ? path : name;
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
    next = absl::StrCat(Suggest(*console, {"up", "-f", ExampleFile("cluster.yaml", "cluster.yaml")}),
                        " starts one; --addr HOST:PORT names another");
  } else if (code == ExitCode::kNotFound) {
    next = Suggest(*console, {"status"});
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

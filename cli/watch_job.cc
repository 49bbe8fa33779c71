#include "cli/watch_job.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "cli/job_view.h"
#include "cli/progress.h"
#include "cli/reach.h"
#include "cli/status_json.h"
#include "cli/units.h"
#include "common/clock.h"

namespace penstock {
namespace {

// Between attempts to reach a coordinator that went away.
constexpr absl::Duration kRetryEvery = absl::Milliseconds(500);

}  // namespace

absl::StatusOr<v1::JobStatus> WatchJob(Client* client, const std::string& job, absl::Duration patience,
                                       Canceller* canceller, Console* console) {
  Clock* const clock = Clock::Real();
  ProgressDisplay display(console->traits().err_is_terminal, console->traits().width);
  std::optional<v1::JobStatus> last;
  absl::Duration heard_at = clock->Monotonic();
  while (true) {
    const absl::Status status = client->Watch(job, canceller, [&](const v1::JobStatus& now) {
      last = now;
      heard_at = clock->Monotonic();
      console->Raw(display.Update(now, clock->Wall()));
      return !HasEnded(now.state());
    });
    if (last.has_value() && HasEnded(last->state())) {
      // A terminal keeps the last line; elsewhere the end has a line of its own already.
      if (!display.Clear().empty()) console->Raw("\n");
      return *last;
    }
    if (!status.ok() && !absl::IsUnavailable(status)) {
      console->Raw(display.Clear());
      return status;
    }
    if (clock->Monotonic() - heard_at >= patience) {
      console->Raw(display.Clear());
      return status.ok() ? absl::UnavailableError("the coordinator ended the watch before the job ended") : status;
    }
    clock->Sleep(kRetryEvery);
  }
}

void SayWhereItGoesOn(Client* client, const std::string& job, Console* console) {
  const absl::StatusOr<v1::GetReply> reply = client->Get(job);
  if (!reply.ok()) return;
  const v1::JobStatus& status = reply->status();
  console->Talk(absl::StrCat("job ", job, " goes on from step ", status.resumed_step(), " of ", status.steps(), ": ",
                             status.resumed_from()));
}

int ReportEnd(const v1::JobStatus& job, bool json, absl::string_view address, Console* console) {
  const ExitCode code = ExitCodeOf(job);
  if (json) console->Data(EndJson(job));
  if (code == ExitCode::kFailed && !address.empty()) {
    return console->Fail(code, FailureText(job), SuggestAfterFailure(*console, job, address));
  }
  if (code == ExitCode::kFailed) {
    const std::string& from = job.checkpoint().empty() ? job.resumed_from() : job.checkpoint();
    return console->Fail(code, FailureText(job),
                         absl::StrCat(from.empty() ? "" : "--resume goes on from ", from, from.empty() ? "" : "; ",
                                      "its log and records are in ", job.run_dir()));
  }
  if (!json) {
    if (!job.sample().empty()) {
      const bool clean = console->traits().out_is_terminal;
      console->Data(absl::StrCat("sample:\n", clean ? WithoutControls(job.sample()) : job.sample(), "\n\n"));
    }
    console->Data(absl::StrCat("summary:    ", job.run_dir(), "/summary.json\n"));
    if (!job.checkpoint().empty()) {
      console->Data(absl::StrCat("checkpoint: ", job.checkpoint(), "\nsha256:     ", job.sha256(), "\n"));
    }
  }
  if (job.state() == v1::STOPPED) {
    console->Talk(absl::StrCat("job ", job.job(), " was stopped at step ", job.step(), " of ", job.steps(),
                               job.checkpoint().empty() ? ", without a checkpoint" : ""));
  }
  return static_cast<int>(code);
}

absl::StatusOr<std::string> IdOf(Client* client, const std::string& job) {
  const absl::StatusOr<v1::GetReply> reply = client->Get(job);
  if (!reply.ok()) return reply.status();
  return reply->status().job();
}

int FollowJob(Client* client, const std::string& job, bool json, Canceller* canceller, Console* console) {
  const absl::StatusOr<v1::JobStatus> end = WatchJob(client, job, kWatchPatience, canceller, console);
  if (end.ok()) return ReportEnd(*end, json, client->address(), console);
  if (absl::IsCancelled(end.status())) {
    console->Talk(absl::StrCat("detached; job ", job,
                               " goes on. To watch it: ", Suggest(*console, {"status", job, "-w"}, client->address()),
                               "; to stop it: ", Suggest(*console, {"stop", job}, client->address())));
    return static_cast<int>(ExitCode::kInterrupted);
  }
  return console->Fail(ExitCodeOf(end.status()), end.status().message(),
                       Suggest(*console, {"status", job}, client->address()));
}

}  // namespace penstock

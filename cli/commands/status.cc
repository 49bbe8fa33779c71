#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/commands/commands.h"
#include "cli/interrupt.h"
#include "cli/job_view.h"
#include "cli/reach.h"
#include "cli/status_json.h"
#include "cli/watch_job.h"
#include "common/clock.h"

namespace penstock {
namespace {

struct Options {
  std::string address;
  std::string format;
  std::string job;
  bool watch = false;
};

// A terminal shows the whole picture anew this often.
constexpr absl::Duration kRedrawEvery = absl::Seconds(1);
constexpr char kClearScreen[] = "\x1b[H\x1b[2J";

std::string Text(const v1::JobStatus& job, const Options& options, const Console& console) {
  if (options.format == "json") return JobJson(job);
  return JobText(job, TableWidth(console), Clock::Real()->Wall());
}

int ShowOnce(const Options& options, Client* client, Console* console) {
  if (options.job.empty()) {
    const absl::StatusOr<v1::ClusterStatus> status = client->GetStatus();
    if (!status.ok()) return FailCall(status.status(), console);
    console->Data(options.format == "json" ? ClusterJson(*status)
                                           : ClusterText(*status, TableWidth(*console), Clock::Real()->Wall()));
    if (status->jobs().empty() && options.format != "json") {
      const std::string file = ExampleFile("quickstart.yaml", "job.yaml");
      console->Talk(absl::StrCat("next: ", Suggest(*console, {"submit", "-f", file}, options.address)));
    }
    return 0;
  }
  const absl::StatusOr<v1::GetReply> reply = client->Get(options.job);
  if (!reply.ok()) return FailCall(reply.status(), console);
  console->Data(Text(reply->status(), options, *console));
  if (reply->status().state() == v1::FAILED && options.format != "json") {
    console->Talk(absl::StrCat("next: ", SuggestAfterFailure(*console, reply->status(), options.address)));
  }
  return 0;
}

// Draws a job's picture again and again until it has ended.
int WatchPicture(const Options& options, const std::string& job_id, Client* client, Canceller* canceller,
                 Console* console) {
  absl::Duration shown_at = -absl::InfiniteDuration();
  v1::JobStatus last;
  const absl::Status status = client->Watch(job_id, canceller, [&](const v1::JobStatus& job) {
    // The coordinator repeats a status that does not change: news for a clock on the screen, and not for a program.
    const bool news = job.SerializeAsString() != last.SerializeAsString();
    last = job;
    const absl::Duration now = Clock::Real()->Monotonic();
    const bool ended = HasEnded(job.state());
    if (ended || (options.format == "json" ? news : now - shown_at >= kRedrawEvery)) {
      shown_at = now;
      console->Data(absl::StrCat(options.format == "json" ? "" : kClearScreen, Text(job, options, *console)));
    }
    return !ended;
  });
  if (!status.ok() && !absl::IsCancelled(status)) return FailCall(status, console);
  if (!absl::IsCancelled(status)) return static_cast<int>(ExitCodeOf(last));
  console->Talk(absl::StrCat("detached; job ", job_id, " goes on"));
  return static_cast<int>(ExitCode::kInterrupted);
}

int Status(const Options& options, Console* console) {
  if (const auto refused = RefuseAddress(options.address, console)) return *refused;
  if (!options.watch) {
    Client client(options.address);
    return ShowOnce(options, &client, console);
  }
  if (options.job.empty()) {
    return console->Fail(ExitCode::kBadUsage, "-w watches one job until it has ended: say which",
                         Suggest(*console, {"status", "@last", "-w"}, options.address));
  }
  Canceller canceller;
  Interrupts interrupts([&canceller](int count) { CancelOrExit(&canceller, count); });
  Client client(options.address);
  const absl::StatusOr<std::string> job = IdOf(&client, options.job);
  if (!job.ok()) return FailCall(job.status(), console);
  if (console->traits().out_is_terminal || options.format == "json") {
    return WatchPicture(options, *job, &client, &canceller, console);
  }
  return FollowJob(&client, *job, /*json=*/false, &canceller, console);
}

}  // namespace

void AddStatus(CLI::App* app, CommandBody* chosen) {
  CLI::App* const command = app->add_subcommand("status", "Show the cluster, or one job with its stages");
  const auto options = std::make_shared<Options>();
  AddJob(command, &options->job);
  command->add_flag("-w,--watch", options->watch, "Show it again whenever it changes, until the job has ended");
  AddAddress(command, &options->address);
  AddFormat(command, {"text", "json"}, &options->format);
  command->callback([=] { *chosen = [options](Console* console) { return Status(*options, console); }; });
}

}  // namespace penstock

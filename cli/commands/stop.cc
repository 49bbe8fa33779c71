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

namespace penstock {
namespace {

struct Options {
  std::string address;
  std::string format;
  std::string job;
  bool no_checkpoint = false;
};

// 1. asks for the stop  2. waits until the job has ended  3. says where the checkpoint is
int Stop(const Options& options, Console* console) {
  if (const auto refused = RefuseAddress(options.address, console)) return *refused;
  Canceller canceller;
  Interrupts interrupts([&canceller](int count) { CancelOrExit(&canceller, count); });
  Client client(options.address);
  // The id: "@last" could mean another job by the time the wait begins.
  const absl::StatusOr<v1::GetReply> job = client.Get(options.job);
  if (!job.ok()) return FailCall(job.status(), console);
  const std::string id = job->status().job();
  if (HasEnded(job->status().state())) {
    return console->Fail(ExitCode::kFailed,
                         absl::StrCat("job ", id, " has ended already: ", StateText(job->status().state())),
                         Suggest(*console, {"status", id}, options.address));
  }
  const absl::StatusOr<v1::StopReply> reply = client.Stop(id, options.no_checkpoint);
  if (!reply.ok()) return FailCall(reply.status(), console);
  console->Talk(HasEnded(reply->state())
                    ? absl::StrCat("job ", id, " had not started: it leaves the queue")
                    : absl::StrCat("job ", id, " stops after its current step",
                                   options.no_checkpoint ? ", without a checkpoint" : ", with a checkpoint"));
  const absl::StatusOr<v1::JobStatus> end = WatchJob(&client, id, kWatchPatience, &canceller, console);
  if (!end.ok()) {
    if (!absl::IsCancelled(end.status())) return FailCall(end.status(), console);
    console->Talk(absl::StrCat("not waiting for its end; ", Suggest(*console, {"status", id}, options.address)));
    return static_cast<int>(ExitCode::kInterrupted);
  }
  if (options.format == "json") {
    console->Data(EndJson(*end));
  } else {
    console->Data(absl::StrCat("job ", id, " ", StateText(end->state()), " at step ", end->step(),
                               end->reason().empty() ? "" : ": ", end->reason(), "\n"));
    if (!end->checkpoint().empty() && !options.no_checkpoint) {
      console->Data(absl::StrCat("checkpoint: ", end->checkpoint(), "\nsha256:     ", end->sha256(), "\n"));
    }
  }
  if (end->state() != v1::FAILED) return 0;
  return console->Fail(ExitCode::kFailed, FailureText(*end), Suggest(*console, {"logs", id}, options.address));
}

}  // namespace

void AddStop(CLI::App* app, CommandBody* chosen) {
  CLI::App* const command = app->add_subcommand("stop", "Stop a job after its current step, with a checkpoint");
  const auto options = std::make_shared<Options>();
  AddJob(command, &options->job)->required();
  command->add_flag("--no-checkpoint", options->no_checkpoint, "Write no checkpoint");
  AddAddress(command, &options->address);
  AddFormat(command, {"text", "json"}, &options->format);
  command->callback([=] { *chosen = [options](Console* console) { return Stop(*options, console); }; });
}

}  // namespace penstock

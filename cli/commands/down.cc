#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/commands/commands.h"
#include "cli/reach.h"
#include "common/child_process.h"

namespace penstock {
namespace {

struct Options {
  std::string address;
  bool no_checkpoint = false;
};

// A large job's step and its checkpoint take minutes.
constexpr absl::Duration kShutdownPatience = absl::Minutes(30);
// After its answer it has only its files to close.
constexpr absl::Duration kEndPatience = absl::Seconds(30);

// 1. learns which process the coordinator is, while it lives  2. asks it to end  3. waits until it is gone
int Down(const Options& options, Console* console) {
  if (const auto refused = RefuseAddress(options.address, console)) return *refused;
  Client client(options.address);
  const absl::StatusOr<v1::ClusterStatus> cluster = client.GetStatus();
  if (!cluster.ok()) return FailCall(cluster.status(), console);
  const absl::StatusOr<ChildProcess> process = FindProcess(static_cast<int>(cluster->pid()));
  int running = 0;
  for (const v1::JobStatus& job : cluster->jobs()) running += HasEnded(job.state()) ? 0 : 1;
  console->Talk(absl::StrCat("ending cluster ", cluster->name(), ": ", running, running == 1 ? " job" : " jobs",
                             options.no_checkpoint ? " without a checkpoint, " : " with a checkpoint, ",
                             cluster->workers_size(), cluster->workers_size() == 1 ? " worker" : " workers"));
  const absl::Status status = client.Shutdown(options.no_checkpoint, kShutdownPatience);
  // It may close the connection before its answer is through: then its process tells.
  if (!status.ok() && !absl::IsUnavailable(status)) return FailCall(status, console);
  if (process.ok()) {
    const bool gone = AwaitChild(*process, kEndPatience);
    close(process->pidfd);
    if (!gone) {
      return console->Fail(
          ExitCode::kFailed, absl::StrCat("the coordinator, process ", cluster->pid(), ", still runs"),
          absl::StrCat("see ", cluster->state_dir(), "/logs/coordinator.log, or kill ", cluster->pid()));
    }
  }
  console->Talk(absl::StrCat("cluster ", cluster->name(), " is down"));
  return 0;
}

}  // namespace

void AddDown(CLI::App* app, CommandBody* chosen) {
  CLI::App* const command = app->add_subcommand("down", "End a cluster: its jobs stop with a checkpoint");
  const auto options = std::make_shared<Options>();
  command->add_flag("--no-checkpoint", options->no_checkpoint, "Write no checkpoints");
  AddAddress(command, &options->address);
  command->callback([=] { *chosen = [options](Console* console) { return Down(*options, console); }; });
}

}  // namespace penstock

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/commands/commands.h"
#include "cli/follow_log.h"
#include "cli/interrupt.h"
#include "cli/reach.h"
#include "cli/units.h"
#include "cli/watch_job.h"

namespace penstock {
namespace {

struct Options {
  std::string address;
  std::string job;
  bool follow = false;
  std::optional<uint32_t> rank;
};

int Logs(const Options& options, Console* console) {
  if (const auto refused = RefuseAddress(options.address, console)) return *refused;
  Canceller canceller;
  Interrupts interrupts([&canceller](int count) { CancelOrExit(&canceller, count); });
  Client client(options.address);
  const absl::StatusOr<std::string> job = IdOf(&client, options.job);
  if (!job.ok()) return FailCall(job.status(), console);
  v1::LogsRequest request;
  request.set_job(*job);
  request.set_follow(options.follow);
  if (options.rank.has_value()) request.set_rank(*options.rank);
  const bool clean = console->traits().out_is_terminal;
  const absl::Status status = FollowLog(&client, request, kWatchPatience, &canceller, [&](const std::string& line) {
    console->Data(absl::StrCat(clean ? WithoutControls(line) : line, "\n"));
  });
  if (status.ok()) return 0;
  if (!absl::IsCancelled(status)) return FailCall(status, console);
  console->Talk(absl::StrCat("detached; job ", *job, " is not affected"));
  return static_cast<int>(ExitCode::kInterrupted);
}

}  // namespace

void AddLogs(CLI::App* app, CommandBody* chosen) {
  CLI::App* const command = app->add_subcommand("logs", "Print a job's log");
  const auto options = std::make_shared<Options>();
  AddJob(command, &options->job)->required();
  command->add_flag("-f,--follow", options->follow, "Go on until the job has ended");
  command->add_option("--rank", options->rank, "Only this rank's lines");
  AddAddress(command, &options->address);
  command->callback([=] { *chosen = [options](Console* console) { return Logs(*options, console); }; });
}

}  // namespace penstock

#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/commands/commands.h"
#include "cli/interrupt.h"
#include "cli/local_cluster.h"
#include "cli/reach.h"
#include "cli/watch_job.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "common/file.h"
#include "common/process.h"
#include "coordinator/plan/planner.h"
#include "spec/job_file.h"

namespace penstock {
namespace {

struct Options {
  std::string format;
  std::string file;
  std::vector<std::string> overrides;
  std::string state_dir;
  std::vector<std::string> devices;
  bool resume = false;
};

// A coordinator on this host that stops answering is dead, or as good as that.
constexpr absl::Duration kDeadAfter = absl::Seconds(5);

// What Ctrl-C does: before there is a job, and the second time, everything ends at once. Otherwise the job is to be
// stopped. Thread-safe.
struct Interruption {
  std::atomic<int> coordinator_pid = 0;  // 0: none yet
  std::atomic<bool> has_job = false;
  Canceller canceller;

  void OnInterrupt(int count) {
    if (count == 1 && has_job) return canceller.Cancel();
    // Its process group: the coordinator and its workers.
    if (coordinator_pid > 0) kill(-coordinator_pid, SIGKILL);
    _exit(static_cast<int>(ExitCode::kInterrupted));
  }
};

// Follows the job to its end, stopping it when the user interrupts.
// Errors: as WatchJob, but never Cancelled.
absl::StatusOr<v1::JobStatus> FollowToEnd(Client* client, const std::string& job, Interruption* interruption,
                                          Console* console) {
  while (true) {
    absl::StatusOr<v1::JobStatus> end = WatchJob(client, job, kDeadAfter, &interruption->canceller, console);
    if (end.ok() || !interruption->canceller.Reset()) return end;
    console->Talk("stopping after the current step, with a checkpoint; Ctrl-C again ends at once, without one");
    // It may have ended in this moment; then the next watch tells how.
    const absl::StatusOr<v1::StopReply> stop = client->Stop(job, /*no_checkpoint=*/false);
    if (!stop.ok() && !absl::IsFailedPrecondition(stop.status())) return stop.status();
  }
}

// The same run once more, in a state folder of one's choice.
std::vector<std::string> RunAgain(const Options& options, const std::string& state_dir) {
  std::vector<std::string> again = {"run", "-f", options.file};
  for (const std::string& pair : options.overrides) again.insert(again.end(), {"--set", pair});
  if (!state_dir.empty()) again.insert(again.end(), {"--state-dir", state_dir});
  if (!options.devices.empty()) again.insert(again.end(), {"--devices", absl::StrJoin(options.devices, ",")});
  return again;
}

void SayWhatNext(const v1::JobStatus& job, const Options& options, Console* console) {
  std::vector<std::string> next;
  if (job.state() != v1::SUCCEEDED && !job.checkpoint().empty()) {
    std::vector<std::string> again = RunAgain(options, options.state_dir);
    again.push_back("--resume");
    next.push_back(Suggest(*console, again));
  }
  if (!job.checkpoint().empty() && job.state() != v1::FAILED) {
    if (job.unit() == "tokens") {
      next.push_back(Suggest(*console, {"generate", job.checkpoint(), "--prompt", "In the beginning"}));
    }
    next.push_back(Suggest(*console, {"hash", job.checkpoint()}));
    next.push_back(Suggest(*console, {"checkpoints", ParentPath(job.checkpoint()), "--verify"}));
  }
  if (job.state() == v1::SUCCEEDED) {
    next.push_back(absl::StrCat(Suggest(*console, {"up", "-f", ExampleFile("cluster.yaml", "cluster.yaml")}),
                                " starts a cluster that stays: README.md"));
  }
  if (!next.empty()) console->Talk(absl::StrCat("next:\n  ", absl::StrJoin(next, "\n  ")));
}

// Submits to the cluster that has been started, and follows. Returns the exit code.
int RunOn(CoordinatorProcess* process, const v1::JobSpec& spec, const Options& options, Interruption* interruption,
          Console* console) {
  Client client(process->address());
  v1::SubmitRequest request;
  request.set_request_id(RandomId());
  *request.mutable_spec() = spec;
  request.set_resume(options.resume);
  request.set_yaml(ToYaml(spec));
  const absl::StatusOr<v1::SubmitReply> reply = client.Submit(request);
  if (!reply.ok()) {
    EndLocalCluster(&client, process);
    return console->Fail(ExitCodeOf(reply.status()), reply.status().message());
  }
  interruption->has_job = true;
  if (options.resume) SayWhereItGoesOn(&client, reply->job(), console);
  console->Talk(absl::StrCat("job ", reply->job(), " at ", process->address(), "; status page http://",
                             process->http_address(), "/statusz; Ctrl-C stops it with a checkpoint"));
  const absl::StatusOr<v1::JobStatus> end = FollowToEnd(&client, reply->job(), interruption, console);
  if (!end.ok()) {
    if (process->AwaitEnd(kDeadAfter)) return console->Fail(ExitCode::kFailed, process->DescribeEnd());
    process->Kill();
    return console->Fail(ExitCode::kFailed, end.status().message(), absl::StrCat("see ", process->log_path()));
  }
  const int code = ReportEnd(*end, options.format == "json", /*address=*/"", console);
  EndLocalCluster(&client, process);
  if (options.format != "json") SayWhatNext(*end, options, console);
  return code;
}

// 1. checks the file and plans, before anything starts: every error of the file at once
// 2. starts a coordinator with as many workers as the plan has ranks
// 3. submits and follows the job; stops it on Ctrl-C
// 4. shuts the cluster down
int Run(const Options& options, Console* console) {
  const absl::StatusOr<v1::JobSpec> spec = ReadJobFile(options.file, options.overrides);
  if (!spec.ok()) return FailFile(spec.status(), console);
  const absl::StatusOr<v1::Plan> plan = MakePlan(*spec);
  if (!plan.ok()) return FailFile(plan.status(), console);

  if (!spec->checkpoint().dir().empty()) {
    const absl::Status writable = CheckFolderTakesFiles(spec->checkpoint().dir());
    if (!writable.ok()) return FailFile(writable, console);
  }

  const size_t ranks = static_cast<size_t>(plan->train_size());
  std::vector<std::string> devices = options.devices;
  if (devices.empty()) devices.assign(ranks, "cpu");
  if (devices.size() < ranks) {
    return console->Fail(ExitCode::kDoesNotFit,
                         absl::StrCat("the plan has ", ranks, " ranks, --devices names ", devices.size()),
                         "name a device twice for two workers to share it, or lower pipeline.stages");
  }
  std::string state_dir = options.state_dir;
  if (state_dir.empty()) {
    absl::StatusOr<std::string> standard = DefaultStateDir("run");
    if (!standard.ok()) return FailFile(standard.status(), console);
    state_dir = *std::move(standard);
  }
  state_dir = std::filesystem::absolute(state_dir).lexically_normal().string();

  Interruption interruption;
  Interrupts interrupts([&interruption](int count) { interruption.OnInterrupt(count); });
  console->Talk(absl::StrCat("starting ", devices.size(), devices.size() == 1 ? " worker" : " workers", " (",
                             absl::StrJoin(devices, ", "), "); state in ", state_dir));
  const absl::StatusOr<std::unique_ptr<CoordinatorProcess>> process =
      StartLocalCluster(state_dir, devices, [&interruption](int pid) { interruption.coordinator_pid = pid; });
  if (absl::IsFailedPrecondition(process.status())) {
    return console->Fail(ExitCode::kFailed, process.status().message(),
                         absl::StrCat("let that run end, or ", Suggest(*console, RunAgain(options, state_dir + "-2")),
                                      " runs beside it"));
  }
  if (!process.ok()) {
    return console->Fail(absl::IsInvalidArgument(process.status()) ? ExitCode::kBadUsage : ExitCode::kFailed,
                         process.status().message(), "--devices names devices");
  }
  Client client((*process)->address());
  const absl::Status up = AwaitWorkers(LocalClusterSpec(state_dir, devices), &client, process->get());
  if (!up.ok()) {
    EndLocalCluster(&client, process->get());
    return console->Fail(ExitCode::kFailed, up.message());
  }
  return RunOn(process->get(), *spec, options, &interruption, console);
}

}  // namespace

void AddRun(CLI::App* app, CommandBody* chosen) {
  CLI::App* const command =
      app->add_subcommand("run", "Train a job from start to end on a cluster of this host's own, which ends with it");
  const auto options = std::make_shared<Options>();
  command->add_option("-f,--file", options->file, "The job file")->required();
  AddOverrides(command, &options->overrides);
  command->add_flag("--resume", options->resume,
                    "Go on from the newest whole checkpoint of checkpoint.dir, else of the latest job of this name");
  command->add_option("--state-dir", options->state_dir,
                      "Where records and checkpoints go [~/.local/state/penstock/run]");
  AddDevices(command, "One a rank, such as cuda:0,cuda:1 [cpu for each]", &options->devices);
  AddFormat(command, {"text", "json"}, &options->format);
  command->callback([=] { *chosen = [options](Console* console) { return Run(*options, console); }; });
}

}  // namespace penstock

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/client.h"
#include "cli/commands/commands.h"
#include "cli/coordinator_process.h"
#include "cli/local_cluster.h"
#include "cli/reach.h"
#include "spec/cluster_spec.h"

namespace penstock {
namespace {

struct Options {
  std::string file;
  bool dry_run = false;
};

void SayWhatItIs(const ClusterSpec& spec, const CoordinatorProcess& process, Console* console) {
  console->Data(absl::StrCat("cluster ", spec.name, " is up\n", "address:     ", process.address(),
                             "\nstatus page: http://", process.http_address(), "/statusz\nworkers:     ",
                             spec.workers.size(), spec.launch == LaunchWith::kNone ? " (they join by themselves)" : "",
                             "\nlogs:        ", spec.state_dir, "/logs\n"));
  const auto suggest = [&](const std::vector<std::string>& words) {
    return Suggest(*console, words, process.address());
  };
  console->Talk(absl::StrCat("next: ", suggest({"submit", "-f", ExampleFile("quickstart.yaml", "job.yaml")}), "; ",
                             suggest({"status"}), "; ", suggest({"down"})));
}

// Another coordinator has the state folder: this very cluster, as a rule.
int RefuseSecond(const ClusterSpec& spec, const absl::Status& status, const std::string& file, Console* console) {
  const absl::StatusOr<v1::ClusterStatus> there = Client(spec.listen).GetStatus();
  if (!there.ok() || there->state_dir() != spec.state_dir) {
    return console->Fail(
        ExitCode::kFailed, status.message(),
        absl::StrCat("end that one, or give this cluster a coordinator.state_dir of its own in ", file));
  }
  const auto suggest = [&](const std::vector<std::string>& words) { return Suggest(*console, words, spec.listen); };
  return console->Fail(ExitCode::kFailed,
                       absl::StrCat("cluster ", there->name(), " is up already, at ", there->address(), " with ",
                                    there->workers_size(), there->workers_size() == 1 ? " worker" : " workers"),
                       absl::StrCat(suggest({"status"}), " shows it; ", suggest({"down"}), ", then ",
                                    Suggest(*console, {"up", "-f", file}), " starts it anew"));
}

int Up(const Options& options, Console* console) {
  const absl::StatusOr<ClusterSpec> spec = ReadClusterFile(options.file);
  if (!spec.ok()) return FailFile(spec.status(), console);
  const std::string config = std::filesystem::absolute(options.file).string();
  if (options.dry_run) {
    console->Data(ToYaml(*spec));
    console->Talk(absl::StrCat("would start penstock-coordinator --config ", config, ", with ", spec->workers.size(),
                               spec->launch == LaunchWith::kNone ? " workers expected" : " workers"));
    return 0;
  }
  const absl::StatusOr<std::string> binary = FindCoordinatorBinary();
  if (!binary.ok()) return console->Fail(ExitCode::kFailed, binary.status().message());
  const absl::StatusOr<std::unique_ptr<CoordinatorProcess>> process =
      CoordinatorProcess::Start({.binary = *binary, .config = config, .state_dir = spec->state_dir, .detached = true});
  if (absl::IsFailedPrecondition(process.status())) return RefuseSecond(*spec, process.status(), options.file, console);
  if (!process.ok()) {
    return console->Fail(
        absl::IsInvalidArgument(process.status()) ? ExitCode::kBadUsage : ExitCode::kFailed, process.status().message(),
        absl::StrCat(Suggest(*console, {"status"}, spec->listen), " shows whether a cluster is up already"));
  }
  if (spec->launch == LaunchWith::kLocal) {
    Client client((*process)->address());
    const absl::Status status = AwaitWorkers(*spec, &client, process->get());
    if (!status.ok()) {
      EndLocalCluster(&client, process->get());  // nothing half up is left behind
      return console->Fail(ExitCode::kFailed, status.message(), "mend the cause, then up again");
    }
  }
  SayWhatItIs(*spec, **process, console);
  return 0;
}

}  // namespace

void AddUp(CLI::App* app, CommandBody* chosen) {
  CLI::App* const command = app->add_subcommand("up", "Start a cluster that stays");
  const auto options = std::make_shared<Options>();
  command->add_option("-f,--file", options->file, "The cluster file")->required();
  command->add_flag("--dry-run", options->dry_run, "Print what would be started, and start nothing");
  command->callback([=] { *chosen = [options](Console* console) { return Up(*options, console); }; });
}

}  // namespace penstock

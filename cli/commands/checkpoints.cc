#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/arguments.h"
#include "cli/checkpoint_argument.h"
#include "cli/client.h"
#include "cli/commands/commands.h"
#include "cli/job_view.h"
#include "cli/reach.h"
#include "cli/status_json.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "common/file.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

struct Options {
  std::string address;
  std::string format;
  std::string target;
  bool verify = false;
};

// The folder that holds the job's checkpoints, by its newest one.
absl::StatusOr<std::string> FolderOf(const Options& options) {
  if (NamesFolder(options.target)) return options.target;
  PENSTOCK_ASSIGN_OR_RETURN(const CheckpointArgument newest, FindJobCheckpoint(options.target, options.address));
  return ParentPath(newest.path);
}

absl::StatusOr<std::vector<CheckpointEntry>> Collect(const Options& options) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::string folder, FolderOf(options));
  PENSTOCK_ASSIGN_OR_RETURN(std::vector<CheckpointEntry> entries, ListCheckpoints(folder));
  if (entries.empty()) return absl::NotFoundError(absl::StrCat("no checkpoints in ", folder));
  for (CheckpointEntry& entry : entries) {
    if (options.verify && entry.status.ok()) entry.status = VerifyCheckpoint(entry.info.path()).status();
  }
  return entries;
}

int Checkpoints(const Options& options, Console* console) {
  if (!NamesFolder(options.target)) {
    if (const auto refused = RefuseAddress(options.address, console)) return *refused;
  }
  const absl::StatusOr<std::vector<CheckpointEntry>> entries = Collect(options);
  if (!entries.ok()) return FailCall(entries.status(), console);
  console->Data(options.format == "json" ? CheckpointsJson(*entries) : CheckpointTable(*entries, TableWidth(*console)));
  for (const CheckpointEntry& entry : *entries) {
    if (entry.status.ok()) continue;
    return console->Fail(ExitCode::kFailed, entry.status.message(),
                         "--resume takes the newest that is whole; a damaged one may be removed");
  }
  if (options.verify) console->Talk("every tensor of every checkpoint has the bytes that were written");
  return 0;
}

}  // namespace

void AddCheckpoints(CLI::App* app, CommandBody* chosen) {
  CLI::App* const command = app->add_subcommand("checkpoints", "List a job's checkpoints");
  const auto options = std::make_shared<Options>();
  AddTarget(command, "JOB|DIR", "A job, or the folder that holds its checkpoints", &options->target)->required();
  command->add_flag("--verify", options->verify, "Read every byte and compare it with its hash");
  AddAddress(command, &options->address);
  AddFormat(command, {"text", "json"}, &options->format);
  command->callback([=] { *chosen = [options](Console* console) { return Checkpoints(*options, console); }; });
}

}  // namespace penstock

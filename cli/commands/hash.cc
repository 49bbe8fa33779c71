#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/arguments.h"
#include "cli/checkpoint_argument.h"
#include "cli/commands/commands.h"
#include "cli/reach.h"
#include "cli/status_json.h"
#include "common/checkpoint/checkpoint_dir.h"

namespace penstock {
namespace {

struct Options {
  std::string address;
  std::string format;
  std::string target;
};

// The hash is computed from the bytes on disk, not read from the manifest alone.
int Hash(const Options& options, Console* console) {
  const absl::StatusOr<CheckpointArgument> found =
      NamesFolder(options.target) ? FindCheckpoint(options.target) : FindJobCheckpoint(options.target, options.address);
  if (!found.ok()) return FailCall(found.status(), console);
  for (const std::string& skipped : found->skipped) console->Talk(absl::StrCat("damaged, passed over: ", skipped));
  const absl::StatusOr<Manifest> manifest = VerifyCheckpoint(found->path);
  if (!manifest.ok()) return FailCall(manifest.status(), console);
  console->Data(options.format == "json" ? HashJson(*manifest) : absl::StrCat(manifest->sha256, "\n"));
  return 0;
}

}  // namespace

void AddHash(CLI::App* app, CommandBody* chosen) {
  CLI::App* const command = app->add_subcommand("hash", "Print the hash of a checkpoint, computed from its bytes");
  const auto options = std::make_shared<Options>();
  AddTarget(command, "CKPT|JOB", "A checkpoint's folder, a folder of them (the newest), or a job", &options->target)
      ->required();
  AddAddress(command, &options->address);
  AddFormat(command, {"text", "json"}, &options->format);
  command->callback([=] { *chosen = [options](Console* console) { return Hash(*options, console); }; });
}

}  // namespace penstock

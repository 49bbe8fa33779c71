#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/commands/commands.h"
#include "cli/job_view.h"
#include "cli/reach.h"
#include "cli/status_json.h"

namespace penstock {
namespace {

struct Options {
  std::string address;
  std::string format;
};

int Workers(const Options& options, Console* console) {
  if (const auto refused = RefuseAddress(options.address, console)) return *refused;
  const absl::StatusOr<v1::ClusterStatus> status = Client(options.address).GetStatus();
  if (!status.ok()) return FailCall(status.status(), console);
  console->Data(options.format == "json" ? WorkersJson(*status) : WorkerTable(status->workers(), TableWidth(*console)));
  return 0;
}

}  // namespace

void AddWorkers(CLI::App* app, CommandBody* chosen) {
  CLI::App* const command = app->add_subcommand("workers", "Show the workers of a cluster");
  const auto options = std::make_shared<Options>();
  AddAddress(command, &options->address);
  AddFormat(command, {"text", "json"}, &options->format);
  command->callback([=] { *chosen = [options](Console* console) { return Workers(*options, console); }; });
}

}  // namespace penstock

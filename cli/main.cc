// The penstock command: parses the command line and runs the chosen subcommand. No torch here.
#include <CLI/CLI.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/commands/commands.h"
#include "cli/console.h"
#include "common/logging.h"
#include "common/process.h"

namespace penstock {
namespace {

constexpr int kParsed = -1;

void AddCommands(CLI::App* app, CommandBody* chosen) {
  for (const auto add : {AddRun, AddUp, AddDown, AddValidate, AddPlan, AddSubmit, AddStatus, AddWorkers, AddLogs,
                         AddStop, AddCheckpoints, AddHash, AddGenerate, AddVersion}) {
    add(app, chosen);
  }
}

std::string UsageError(const CLI::App* app, const CLI::Error& error) {
  const CLI::App* command = app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  const std::string name = command == app ? "penstock" : absl::StrCat("penstock ", command->get_name());
  return absl::StrCat("error: ", name, ": ", error.what(), "\nnext: ", name, " --help\n");
}

// Returns kParsed, or main's result where the arguments ask for help or are wrong; what is to be said has been said.
int Parse(CLI::App& app, int argc, char** argv) {
  const auto parse = [&app, argc, argv] {
    CLI11_PARSE(app, argc, argv);
    return kParsed;
  };
  const int result = parse();
  return result == kParsed || result == 0 ? result : static_cast<int>(ExitCode::kBadUsage);
}

}  // namespace

int Main(int argc, char** argv) {
  KeepPages();
  StartLogging(argv[0]);
  CLI::App app(
      "Trains neural networks cut into a pipeline over several processes.\n"
      "JOB is a name, an id, a unique prefix, or @last.",
      "penstock");
  app.require_subcommand(1);
  app.failure_message(UsageError);
  CommandBody chosen;
  AddCommands(&app, &chosen);
  if (const int result = Parse(app, argc, argv); result != kParsed) return result;
  Console console = Console::OfProcess();
  return chosen(&console);
}

}  // namespace penstock

int main(int argc, char** argv) { return penstock::Main(argc, argv); }

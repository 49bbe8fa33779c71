// The penstock command: parses the command line and runs the chosen subcommand. No torch here.
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/commands/commands.h"
#include "cli/console.h"
#include "common/diagnostic.h"
#include "common/logging.h"
#include "common/process.h"

namespace penstock {
namespace {

constexpr int kParsed = -1;

void AddCommands(CLI::App* app, CommandBody* chosen) {
  for (const auto add : {AddRun, AddUp, AddDown, AddValidate, AddPlan, AddSimulate, AddSubmit, AddStatus, AddWorkers,
                         AddLogs, AddStop, AddCheckpoints, AddHash, AddGenerate, AddVersion}) {
    add(app, chosen);
  }
}

// What stands in place of a command, where that is what is wrong: CLI11 would only say that one is missing.
std::string UnknownCommand(const CLI::App* app) {
  const std::vector<std::string> rest = app->remaining();
  if (!app->get_subcommands().empty() || rest.empty()) return "";
  std::vector<std::string> names;
  for (const CLI::App* command : app->get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  const std::string nearest = NearestWord(rest.front(), names);
  return absl::StrCat("no command '", rest.front(), "'", nearest.empty() ? "" : "; did you mean '", nearest,
                      nearest.empty() ? "" : "'?");
}

std::string UsageError(const CLI::App* app, const CLI::Error& error) {
  const CLI::App* command = app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  const std::string name = command == app ? "penstock" : absl::StrCat("penstock ", command->get_name());
  const std::string unknown = UnknownCommand(app);
  const std::string cause = unknown.empty() ? error.what() : unknown;
  return absl::StrCat("error: ", name, ": ", cause, "\nnext: ", name, " --help\n");
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
  Console console = Console::OfProcess(argv[0]);
  return chosen(&console);
}

}  // namespace penstock

int main(int argc, char** argv) { return penstock::Main(argc, argv); }

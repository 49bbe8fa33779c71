// The subcommands of `penstock`: each Add… declares one, and sets *chosen when the command line picks it.
// Called once, from main's thread.
#ifndef PENSTOCK_CLI_COMMANDS_COMMANDS_H_
#define PENSTOCK_CLI_COMMANDS_COMMANDS_H_

#include <functional>
#include <string>

#include "cli/console.h"

namespace CLI {
class App;
}  // namespace CLI

namespace penstock {

// Runs the chosen command; returns main's result.
using CommandBody = std::function<int(Console*)>;

void AddRun(CLI::App* app, CommandBody* chosen);
void AddUp(CLI::App* app, CommandBody* chosen);
void AddDown(CLI::App* app, CommandBody* chosen);
void AddValidate(CLI::App* app, CommandBody* chosen);
void AddPlan(CLI::App* app, CommandBody* chosen);
void AddSimulate(CLI::App* app, CommandBody* chosen);
void AddSubmit(CLI::App* app, CommandBody* chosen);
void AddStatus(CLI::App* app, CommandBody* chosen);
void AddWorkers(CLI::App* app, CommandBody* chosen);
void AddLogs(CLI::App* app, CommandBody* chosen);
void AddStop(CLI::App* app, CommandBody* chosen);
void AddCheckpoints(CLI::App* app, CommandBody* chosen);
void AddHash(CLI::App* app, CommandBody* chosen);
void AddGenerate(CLI::App* app, CommandBody* chosen);
void AddVersion(CLI::App* app, CommandBody* chosen);

}  // namespace penstock

#endif  // PENSTOCK_CLI_COMMANDS_COMMANDS_H_

#include "common/version.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/arguments.h"
#include "cli/commands/commands.h"
#include "cli/status_json.h"

namespace penstock {

void AddVersion(CLI::App* app, CommandBody* chosen) {
  CLI::App* const command = app->add_subcommand("version", "Print the version");
  const auto format = std::make_shared<std::string>();
  AddFormat(command, {"text", "json"}, format.get());
  command->callback([=] {
    *chosen = [format](Console* console) {
      console->Data(*format == "json" ? FactsJson({{"version", kVersion}}) : absl::StrCat("penstock ", kVersion, "\n"));
      return 0;
    };
  });
}

}  // namespace penstock

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/arguments.h"
#include "cli/commands/commands.h"
#include "cli/reach.h"
#include "cli/simulation.h"
#include "spec/schedule_csv.h"

namespace penstock {
namespace {

// More actions are not drawn: they would be finer than any screen.
constexpr double kMostDrawnActions = 1 << 20;

struct Options {
  std::string format;
  std::string csv;
  std::string order;
  SimulationRequest request;
};

int Fail(const absl::Status& status, Console* console) {
  return console->Fail(ExitCode::kBadUsage, status.message(),
                       absl::StrCat(console->traits().program, " simulate --help"));
}

int CompareAll(const Options& options, Console* console) {
  if (options.format == "svg") {
    return Fail(absl::InvalidArgumentError("-o svg draws one schedule: name it in --schedule"), console);
  }
  const auto compared = CompareSchedules(options.request);
  if (!compared.ok()) return Fail(compared.status(), console);
  console->Data(options.format == "json" ? SimulationJson(*compared) + "\n"
                                         : SimulationText(*compared, console->traits().width));
  return 0;
}

int SimulateOne(const Options& options, Console* console) {
  const SimulationRequest& request = options.request;
  const double actions = 3.0 * request.ranks * std::max(1, request.chunks) * request.micro_batches;
  const bool draw = options.format == "svg" || (options.format == "text" && actions <= kMostDrawnActions);
  const auto simulated = SimulateSchedule(request, draw ? SimulationDetail::kActions : SimulationDetail::kTotals);
  if (!simulated.ok()) return Fail(simulated.status(), console);
  if (options.format == "svg") {
    console->Data(SimulationSvg(*simulated));
  } else if (options.format == "json") {
    console->Data(SimulationJson(*simulated) + "\n");
  } else {
    console->Data(SimulationText(*simulated, console->traits().width));
    if (!draw) console->Talk("No timeline is drawn of so many actions.");
  }
  return 0;
}

int Simulate(Options options, Console* console) {
  options.request.reverse = options.order == "reverse";
  if (!options.csv.empty()) {
    absl::StatusOr<ActionTable> lists = ReadScheduleCsvFile(options.csv);
    if (!lists.ok()) return FailFile(lists.status(), console);
    options.request.lists = *std::move(lists);
    return SimulateOne(options, console);
  }
  return options.request.schedule == "all" ? CompareAll(options, console) : SimulateOne(options, console);
}

}  // namespace

void AddSimulate(CLI::App* app, CommandBody* chosen) {
  CLI::App* const command =
      app->add_subcommand("simulate", "Run a schedule on paper: its length, bubbles, memory and timeline");
  const auto options = std::make_shared<Options>();
  SimulationRequest* const request = &options->request;
  CLI::Option* const name =
      command->add_option("--schedule", request->schedule, "A schedule's name, or all: compare every one");
  command->add_option("--csv", options->csv, "A file of your own lists, one line a rank")->excludes(name);
  command->add_option("-p,--ranks", request->ranks, "Ranks");
  command->add_option("-m,--micro-batches", request->micro_batches, "Micro-batches of a step");
  const char* const each = "; one number, or one a rank: 3,4,5";
  command->add_option("--forward", request->forward, absl::StrCat("A rank's time for a micro-batch's F", each));
  command->add_option("--input-grad", request->input_grad, absl::StrCat("The same of I", each));
  command->add_option("--weight-grad", request->weight_grad, absl::StrCat("The same of W; a B is I and W", each));
  command->add_option("--comm", request->comm, "Time from one rank to another")->capture_default_str();
  command->add_option("--chunks", request->chunks, "Stages a rank; its times are divided over them evenly");
  command->add_option("--group", request->group, "interleaved: micro-batches a round");
  options->order = "ascending";
  command->add_option("--order", options->order, "gpipe: order of the input gradients")
      ->check(CLI::IsMember({"ascending", "reverse"}))
      ->capture_default_str();
  command->add_option("--recompute", request->recompute, "Forwards that run again before their backward")
      ->check(CLI::IsMember({"none", "boundary", "except-last"}))
      ->capture_default_str();
  command->add_option("--activation-bytes", request->activation_bytes, absl::StrCat("Kept from F to I", each))
      ->capture_default_str();
  command->add_option("--weight-input-bytes", request->weight_input_bytes,
                      absl::StrCat("Kept from I to W; as --activation-bytes unless given", each));
  command
      ->add_option("--boundary-bytes", request->boundary_bytes,
                   absl::StrCat("Kept by each stage from F to its recomputation", each))
      ->capture_default_str();
  AddFormat(command, {"text", "json", "svg"}, &options->format);
  command->callback([=] { *chosen = [options](Console* console) { return Simulate(*options, console); }; });
}

}  // namespace penstock

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/arguments.h"
#include "cli/commands/commands.h"
#include "cli/reach.h"
#include "coordinator/plan/planner.h"
#include "coordinator/plan/render.h"
#include "spec/cluster_spec.h"
#include "spec/job_file.h"
#include "spec/plan_file.h"

namespace penstock {
namespace {

struct Options {
  std::string format;
  std::string file;
  std::vector<std::string> overrides;
  std::string memory;
  std::string cluster;
};

std::string Render(const Options& options, const v1::JobSpec& spec, const v1::Plan& plan, const PlanWorkers& workers) {
  if (options.format == "json") return RenderPlanJson(spec, plan, workers) + "\n";
  if (options.format == "text") return RenderPlanText(spec, plan, workers);
  std::vector<std::string> layers;
  for (const v1::Layer& layer : spec.model().layers()) layers.push_back(layer.name());
  return PlanToYaml(plan, layers);
}

// The limits that the plan must keep: of the cluster's workers, of --memory, or none.
// Errors: InvalidArgument: the file or the size.
absl::StatusOr<PlanWorkers> Workers(const Options& options, int ranks) {
  PlanWorkers workers;
  if (!options.cluster.empty()) {
    const absl::StatusOr<ClusterSpec> cluster = ReadClusterFile(options.cluster);
    if (!cluster.ok()) return cluster.status();
    for (const WorkerSpec& worker : cluster->workers) {
      workers.memory_bytes.push_back(worker.memory_bytes);
      workers.names.push_back(worker.id);
    }
  }
  if (!options.memory.empty()) {
    const absl::StatusOr<uint64_t> bytes = ParseBytes(options.memory);
    if (!bytes.ok()) return bytes.status();
    workers.memory_bytes.assign(ranks, *bytes);
  }
  return workers;
}

int Plan(const Options& options, Console* console) {
  const absl::StatusOr<v1::JobSpec> spec = ReadJobFile(options.file, options.overrides);
  if (!spec.ok()) return FailFile(spec.status(), console);
  const absl::StatusOr<v1::Plan> plan = MakePlan(*spec);
  if (!plan.ok()) return FailFile(plan.status(), console);
  const absl::StatusOr<PlanWorkers> workers = Workers(options, plan->train_size());
  if (!workers.ok()) return FailFile(workers.status(), console);
  console->Data(Render(options, *spec, *plan, *workers));
  const int known = static_cast<int>(workers->names.size());
  if (known > 0 && known < plan->train_size()) {
    return console->Fail(ExitCode::kDoesNotFit,
                         absl::StrCat("the plan has ", plan->train_size(), " ranks, ", options.cluster, " has ", known,
                                      known == 1 ? " worker" : " workers"),
                         "lower pipeline.stages, or add workers");
  }
  const absl::Status fits = CheckFits(*spec, *plan, workers->memory_bytes);
  return fits.ok() ? 0 : console->Fail(ExitCode::kDoesNotFit, fits.message());
}

}  // namespace

void AddPlan(CLI::App* app, CommandBody* chosen) {
  CLI::App* const command = app->add_subcommand("plan", "Show how a job would be cut, placed and scheduled");
  const auto options = std::make_shared<Options>();
  command->add_option("-f,--file", options->file, "The job file")->required();
  AddOverrides(command, &options->overrides);
  auto* const memory = command->add_option("--memory", options->memory, "Limit of each worker, such as 78GiB");
  command->add_option("-c,--cluster", options->cluster, "A cluster file, for its workers and limits")->excludes(memory);
  AddFormat(command, {"text", "json", "yaml"}, &options->format);
  command->callback([=] { *chosen = [options](Console* console) { return Plan(*options, console); }; });
}

}  // namespace penstock

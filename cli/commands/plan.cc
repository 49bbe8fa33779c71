#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/arguments.h"
#include "cli/commands/commands.h"
#include "cli/comparison.h"
#include "cli/coordinator_process.h"
#include "cli/measured_costs.h"
#include "cli/reach.h"
#include "cli/stored_job.h"
#include "coordinator/plan/amounts.h"
#include "coordinator/plan/choice.h"
#include "coordinator/plan/planner.h"
#include "coordinator/plan/render.h"
#include "coordinator/plan/timeline.h"
#include "spec/cluster_spec.h"
#include "spec/job_file.h"
#include "spec/plan_file.h"

namespace penstock {
namespace {

// For --schedule: compares every one.
constexpr char kAllSchedules[] = "all";

struct Options {
  std::string format;
  std::string file;
  std::vector<std::string> overrides;
  std::string schedule;  // "": the job's own
  bool timeline = false;
  std::string memory;
  std::string cluster;
  bool measure = false;
  std::string compare;  // a job
  std::string address;
  std::string state_dir;
};

// Workers that measure where no coordinator answers: enough for a link, and for ranks that compute at once.
constexpr int kMeasuringWorkers = 2;

// What is known of the workers that would run the plan, by rank.
struct Workers {
  std::vector<uint64_t> memory_bytes;
  std::vector<std::string> names;
};

std::string Yaml(const v1::JobSpec& spec, const v1::Plan& plan) {
  std::vector<std::string> layers;
  for (const v1::Layer& layer : spec.model().layers()) layers.push_back(layer.name());
  return PlanToYaml(plan, layers);
}

TimelineOptions TimelineOf(const v1::JobSpec& spec, const v1::Plan& plan) {
  TimelineOptions options;
  options.title = absl::StrCat(spec.name(), ": ", plan.schedule(), ", ", plan.train_size(), " ranks, ",
                               plan.micro_batches(), " micro-batches");
  options.unit = "ms";
  options.unit_us = 1000;
  options.memory_text = [](int, int64_t bytes) { return BytesAmount(static_cast<uint64_t>(bytes)); };
  return options;
}

std::string Render(const Options& options, const PlanRequest& request, const PlannedJob& planned,
                   const std::vector<std::string>& workers) {
  if (options.format == "json") return RenderPlanJson(request, planned, workers) + "\n";
  if (options.format == "yaml") return Yaml(request.spec, planned.plan);
  const TimelineOptions timeline = TimelineOf(request.spec, planned.plan);
  if (options.format == "svg") return TimelineSvg(planned.simulation, timeline);
  std::string text = RenderPlanText(request, planned, workers);
  if (options.timeline) absl::StrAppend(&text, "\n", TimelineText(planned.simulation, timeline));
  return text;
}

// "8GiB", or "8GiB,4GiB": one limit for every worker, or one for each rank.
// Errors: InvalidArgument: not that, a limit of 0, as many limits as there are no ranks.
absl::StatusOr<std::vector<uint64_t>> MemoryLimits(const std::string& text, int ranks) {
  std::vector<uint64_t> limits;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const absl::StatusOr<uint64_t> bytes = ParseBytes(std::string(part));
    if (!bytes.ok()) return bytes.status();
    if (*bytes == 0) {
      return absl::InvalidArgumentError("--memory: a worker of 0 bytes holds nothing; leave it out for no limit");
    }
    limits.push_back(*bytes);
  }
  if (limits.size() == 1) limits.assign(ranks, limits[0]);
  if (static_cast<int>(limits.size()) == ranks) return limits;
  return absl::InvalidArgumentError(absl::StrCat("--memory gives ", limits.size(), " limits, the plan has ", ranks,
                                                 " ranks: give one for all, or one for each"));
}

// The limits that the plan must keep: of the cluster's workers, of --memory, or none.
// Errors: InvalidArgument: the file or a size.
absl::StatusOr<Workers> WorkersOf(const Options& options, int ranks) {
  Workers workers;
  if (!options.cluster.empty()) {
    const absl::StatusOr<ClusterSpec> cluster = ReadClusterFile(options.cluster);
    if (!cluster.ok()) return cluster.status();
    for (const WorkerSpec& worker : cluster->workers) {
      workers.memory_bytes.push_back(worker.memory_bytes);
      workers.names.push_back(worker.id);
    }
  }
  if (!options.memory.empty()) {
    absl::StatusOr<std::vector<uint64_t>> limits = MemoryLimits(options.memory, ranks);
    if (!limits.ok()) return limits.status();
    workers.memory_bytes = *std::move(limits);
  }
  return workers;
}

int CompareAll(const Options& options, const PlanRequest& request, Console* console) {
  if (options.timeline || (options.format != "text" && options.format != "json")) {
    return console->Fail(ExitCode::kBadUsage,
                         "--schedule all is a table or JSON: name one schedule for its timeline or plan");
  }
  const absl::StatusOr<std::vector<ScheduleRow>> rows = CompareSchedules(request);
  if (!rows.ok()) return FailFile(rows.status(), console);
  console->Data(options.format == "json" ? RenderComparisonJson(request, *rows) + "\n"
                                         : RenderComparisonText(request, *rows));
  for (const ScheduleRow& row : *rows) {
    if (row.status.ok() && row.missing_bytes == 0) return 0;
  }
  std::vector<std::string> words = {"plan", "-f", options.file, "--schedule", (*rows)[BestRow(*rows)].schedule};
  for (const std::string& pair : options.overrides) words.insert(words.end(), {"--set", pair});
  if (!options.memory.empty()) words.insert(words.end(), {"--memory", options.memory});
  if (!options.cluster.empty()) words.insert(words.end(), {"--cluster", options.cluster});
  return console->Fail(ExitCode::kDoesNotFit, "no schedule fits the workers' memory",
                       absl::StrCat(Suggest(*console, words), " says what would"));
}

int PlanOne(const Options& options, const PlanRequest& request, const Workers& workers, Console* console) {
  const absl::StatusOr<PlannedJob> planned = PlanJob(request);
  if (!planned.ok()) return FailFile(planned.status(), console);
  console->Data(Render(options, request, *planned, workers.names));
  const int known = static_cast<int>(workers.names.size()), ranks = planned->plan.train_size();
  if (known > 0 && known < ranks) {
    return console->Fail(ExitCode::kDoesNotFit,
                         absl::StrCat("the plan has ", ranks, " ranks, ", options.cluster, " has ", known,
                                      known == 1 ? " worker" : " workers"),
                         "lower pipeline.stages, or add workers");
  }
  const absl::Status fits = CheckFits(request, planned->plan);
  return fits.ok() ? 0 : console->Fail(ExitCode::kDoesNotFit, fits.message());
}

// Measured, or known from an earlier measurement; nullopt: the plan's costs are estimates.
absl::StatusOr<std::optional<v1::MeasuredCosts>> Costs(const Options& options, const v1::JobSpec& spec, int ranks,
                                                       Console* console) {
  if (!options.measure) return StoredCosts(options.state_dir, spec);
  MeasureOptions how{.address = options.address, .state_dir = options.state_dir, .devices = {}};
  how.devices.assign(std::min(ranks, kMeasuringWorkers), "cpu");
  absl::StatusOr<std::vector<v1::MeasuredCosts>> measured = MeasureJobCosts(spec, how, console);
  if (!measured.ok()) return measured.status();
  return std::move(measured->front());
}

// Errors: FailedPrecondition: there is no standard place.
absl::Status SetStateDir(Options* options) {
  if (options->state_dir.empty()) {
    absl::StatusOr<std::string> standard = DefaultStateDir("run");
    if (!standard.ok()) return standard.status();
    options->state_dir = *std::move(standard);
  }
  options->state_dir = std::filesystem::absolute(options->state_dir).lexically_normal().string();
  return absl::OkStatus();
}

int ComparePlan(const Options& options, Console* console) {
  const absl::StatusOr<v1::GetReply> job = FindJob(options.compare, options.address, options.state_dir);
  if (!job.ok()) return console->Fail(ExitCodeOf(job.status()), job.status().message());
  const absl::StatusOr<Comparison> comparison = Compare(job->plan(), job->status());
  if (!comparison.ok()) return console->Fail(ExitCode::kFailed, comparison.status().message());
  console->Data(options.format == "json" ? ComparisonJson(*comparison) + "\n"
                                         : ComparisonText(*comparison, TableWidth(*console)));
  return 0;
}

int Plan(Options options, Console* console) {
  if (const std::optional<int> refused = RefuseAddress(options.address, console)) return *refused;
  const absl::Status placed = SetStateDir(&options);
  if (!placed.ok()) return FailFile(placed, console);
  if (!options.compare.empty()) return ComparePlan(options, console);
  const absl::StatusOr<v1::JobSpec> spec = ReadJobFile(options.file, options.overrides);
  if (!spec.ok()) return FailFile(spec.status(), console);
  const absl::StatusOr<int> ranks = RanksOfJob(*spec);
  if (!ranks.ok()) return FailFile(ranks.status(), console);
  const absl::StatusOr<Workers> workers = WorkersOf(options, *ranks);
  if (!workers.ok()) return FailFile(workers.status(), console);
  const absl::StatusOr<std::optional<v1::MeasuredCosts>> costs = Costs(options, *spec, *ranks, console);
  if (!costs.ok()) return console->Fail(ExitCodeOf(costs.status()), costs.status().message());
  const bool draws = options.timeline || options.format == "svg";
  const auto request_for = [&](const v1::JobSpec& job) {
    return PlanRequest{job, costs->has_value() ? &**costs : nullptr, workers->memory_bytes,
                       draws ? SimulationDetail::kActions : SimulationDetail::kTotals};
  };
  if (options.schedule == kAllSchedules) return CompareAll(options, request_for(*spec), console);
  if (options.schedule.empty()) return PlanOne(options, request_for(*spec), *workers, console);
  const absl::StatusOr<v1::JobSpec> other = WithSchedule(request_for(*spec), options.schedule);
  if (!other.ok()) return FailFile(other.status(), console);
  return PlanOne(options, request_for(*other), *workers, console);
}

}  // namespace

void AddPlan(CLI::App* app, CommandBody* chosen) {
  CLI::App* const command = app->add_subcommand("plan", "Show how a job would be cut, placed and scheduled");
  const auto options = std::make_shared<Options>();
  auto* const source = command->add_option_group("source")->require_option(1);
  source->add_option("-f,--file", options->file, "The job file");
  source->add_option("--compare", options->compare, "A job: predicted beside measured, and where they part");
  AddOverrides(command, &options->overrides);
  command->add_option("--schedule", options->schedule,
                      "Another schedule on as many ranks, or `all`: every one, compared");
  command->add_flag("--timeline", options->timeline, "Draw the simulated step; with -o json, list its actions' times");
  auto* const memory =
      command->add_option("--memory", options->memory, "Limit of each worker: 78GiB, or one a rank: 78GiB,39GiB");
  command->add_option("-c,--cluster", options->cluster, "A cluster file, for its workers and limits")->excludes(memory);
  command->add_flag("--measure", options->measure, "Time the layers on idle workers first, and keep what they cost");
  AddAddress(command, &options->address);
  command->add_option("--state-dir", options->state_dir,
                      "Where `run` keeps its jobs, and measured costs are kept [~/.local/state/penstock/run]");
  AddFormat(command, {"text", "json", "svg", "yaml"}, &options->format);
  command->callback([=] { *chosen = [options](Console* console) { return Plan(*options, console); }; });
}

}  // namespace penstock

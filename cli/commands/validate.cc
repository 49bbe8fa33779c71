#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/arguments.h"
#include "cli/commands/commands.h"
#include "cli/reach.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "common/status_macros.h"
#include "coordinator/plan/planner.h"
#include "spec/cluster_spec.h"
#include "spec/file_kind.h"
#include "spec/job_file.h"
#include "spec/plan_file.h"

namespace penstock {
namespace {

struct Options {
  std::vector<std::string> files;
  std::vector<std::string> overrides;
  bool print = false;
};

// Checks one file as what it says it is. Returns it resolved; `notes` take what is to be said of a good one.
// Errors: InvalidArgument: every fault. NotFound: no such file.
absl::StatusOr<std::string> Resolve(const std::string& file, const std::vector<std::string>& overrides,
                                    std::vector<std::string>* notes) {
  PENSTOCK_ASSIGN_OR_RETURN(const FileKind kind, KindOfFile(file));
  switch (kind) {
    case FileKind::kCluster: {
      PENSTOCK_ASSIGN_OR_RETURN(const ClusterSpec spec, ReadClusterFile(file));
      return ToYaml(spec);
    }
    case FileKind::kPlan: {
      PENSTOCK_ASSIGN_OR_RETURN(const v1::Plan plan, ReadPlanFile(file));
      return PlanToYaml(plan, {});
    }
    case FileKind::kJob: {
      PENSTOCK_ASSIGN_OR_RETURN(const v1::JobSpec spec, ReadJobFile(file, overrides, notes));
      // What only the plan shows: more stages than layers, a plan file that does not fit the model.
      PENSTOCK_RETURN_IF_ERROR(MakePlan(spec).status());
      if (!spec.checkpoint().dir().empty()) PENSTOCK_RETURN_IF_ERROR(CheckFolderTakesFiles(spec.checkpoint().dir()));
      return ToYaml(spec);
    }
  }
  return absl::InternalError(absl::StrCat(file, ": a kind that is not handled"));
}

int Validate(const Options& options, Console* console) {
  int code = 0;
  for (const std::string& file : options.files) {
    std::vector<std::string> notes;
    const absl::StatusOr<std::string> resolved = Resolve(file, options.overrides, &notes);
    if (!resolved.ok()) {
      code = FailFile(resolved.status(), console);
    } else if (options.print) {
      console->Data(absl::StrCat(options.files.size() > 1 ? "---\n" : "", *resolved));
    } else {
      console->Data(absl::StrCat(file, ": ok\n"));
      for (const std::string& note : notes) console->Talk(absl::StrCat(file, ": ", note));
    }
  }
  return code;
}

}  // namespace

void AddValidate(CLI::App* app, CommandBody* chosen) {
  CLI::App* const command = app->add_subcommand("validate", "Check job, cluster and plan files");
  const auto options = std::make_shared<Options>();
  command->add_option("FILE", options->files, "Files to check")->required();
  AddOverrides(command, &options->overrides);
  command->add_flag("--print", options->print, "Print each file resolved: defaults filled in, paths absolute");
  command->callback([=] { *chosen = [options](Console* console) { return Validate(*options, console); }; });
}

}  // namespace penstock

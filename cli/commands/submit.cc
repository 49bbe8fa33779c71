#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/commands/commands.h"
#include "cli/interrupt.h"
#include "cli/reach.h"
#include "cli/status_json.h"
#include "cli/watch_job.h"
#include "common/process.h"
#include "spec/job_file.h"

namespace penstock {
namespace {

struct Options {
  std::string address;
  std::string format;
  std::string file;
  std::vector<std::string> overrides;
  bool detach = false;
  bool resume = false;
};

// 1. checks the file, so that its errors show lines  2. submits  3. follows the job, unless detached
int Submit(const Options& options, Console* console) {
  if (const auto refused = RefuseAddress(options.address, console)) return *refused;
  const absl::StatusOr<v1::JobSpec> spec = ReadJobFile(options.file, options.overrides);
  if (!spec.ok()) return FailFile(spec.status(), console);

  Canceller canceller;
  Interrupts interrupts([&canceller](int count) { CancelOrExit(&canceller, count); });
  Client client(options.address);
  v1::SubmitRequest request;
  request.set_request_id(RandomId());
  *request.mutable_spec() = *spec;
  request.set_resume(options.resume);
  request.set_yaml(ToYaml(*spec));
  const absl::StatusOr<v1::SubmitReply> reply = client.Submit(request);
  if (!reply.ok()) {
    if (absl::IsFailedPrecondition(reply.status())) {
      std::vector<std::string> plan = {"plan", "-f", options.file};
      for (const std::string& pair : options.overrides) plan.insert(plan.end(), {"--set", pair});
      return console->Fail(
          ExitCode::kDoesNotFit, reply.status().message(),
          absl::StrCat(Suggest(*console, plan), " shows the memory and the workers that the plan needs"));
    }
    return FailCall(reply.status(), console);
  }
  const std::string& job = reply->job();
  if (options.resume) SayWhereItGoesOn(&client, job, console);
  if (options.detach) {
    console->Data(options.format == "json" ? FactsJson({{"job", job}}) : absl::StrCat(job, "\n"));
    return 0;
  }
  console->Talk(absl::StrCat("job ", job, " submitted; Ctrl-C detaches, ",
                             Suggest(*console, {"stop", job}, options.address), " stops it"));
  return FollowJob(&client, job, options.format == "json", &canceller, console);
}

}  // namespace

void AddSubmit(CLI::App* app, CommandBody* chosen) {
  CLI::App* const command = app->add_subcommand("submit", "Queue a job and follow it");
  const auto options = std::make_shared<Options>();
  command->add_option("-f,--file", options->file, "The job file")->required();
  AddOverrides(command, &options->overrides);
  command->add_flag("--detach", options->detach, "Print the job's id and return at once");
  command->add_flag("--resume", options->resume,
                    "Go on from the newest whole checkpoint of checkpoint.dir, else of the latest job of this name");
  AddAddress(command, &options->address);
  AddFormat(command, {"text", "json"}, &options->format);
  command->callback([=] { *chosen = [options](Console* console) { return Submit(*options, console); }; });
}

}  // namespace penstock

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "cli/arguments.h"
#include "cli/checkpoint_argument.h"
#include "cli/client.h"
#include "cli/commands/commands.h"
#include "cli/interrupt.h"
#include "cli/local_cluster.h"
#include "cli/reach.h"
#include "cli/status_json.h"
#include "cli/units.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "common/file.h"
#include "common/process.h"
#include "coordinator/plan/planner.h"

namespace penstock {
namespace {

struct Options {
  std::string address;
  std::string format;
  std::string target;
  std::string prompt;
  std::vector<int64_t> prompt_tokens;
  uint32_t tokens = 200;
  double temperature = 0.8;
  uint32_t top_k = 0;
  uint64_t seed = 1;
  std::vector<std::string> devices;
};

v1::GenerateRequest RequestOf(const Options& options) {
  v1::GenerateRequest request;
  request.set_prompt(options.prompt);
  request.mutable_prompt_tokens()->Assign(options.prompt_tokens.begin(), options.prompt_tokens.end());
  request.set_tokens(options.tokens);
  request.set_temperature(options.temperature);
  request.set_top_k(options.top_k);
  request.set_seed(options.seed);
  return request;
}

// Streams the prompt and what follows it to standard output, as it comes. Nothing is written before the first token is
// there: an error stands alone.
absl::Status Stream(Client* client, const v1::GenerateRequest& request, const Options& options, Canceller* canceller,
                    Console* console) {
  const bool json = options.format == "json";
  std::string text;
  std::vector<int64_t> tokens;
  const auto show = [&](const std::string& piece) {
    if (!json) console->Data(console->traits().out_is_terminal ? WithoutControls(piece) : piece);
  };
  bool begun = false;
  const auto begin = [&] {
    if (!std::exchange(begun, true)) show(options.prompt);
  };
  const absl::Status status = client->Generate(request, canceller, [&](const v1::GenerateReply& reply) {
    begin();
    tokens.push_back(reply.token());
    text += reply.text();
    show(reply.text());
    return true;
  });
  if (json && status.ok()) console->Data(GeneratedJson(text, tokens));
  if (status.ok()) begin();
  if (!json && begun) console->Data("\n");
  return status;
}

int Finish(const absl::Status& status, Console* console) {
  if (status.ok()) return 0;
  if (absl::IsCancelled(status)) return static_cast<int>(ExitCode::kInterrupted);
  return FailCall(status, console);
}

// No coordinator answers: a cluster of our own, with as many workers as the checkpoint's plan has ranks, in a folder
// that goes with it.
int GenerateAlone(const Options& options, const std::string& checkpoint, Canceller* canceller, Console* console) {
  const absl::StatusOr<Manifest> manifest = ReadManifest(checkpoint);
  if (!manifest.ok()) return FailCall(manifest.status(), console);
  std::vector<std::string> devices = options.devices;
  if (devices.empty()) {
    const absl::StatusOr<v1::Plan> plan = MakePlan(manifest->spec);
    if (!plan.ok()) return FailFile(plan.status(), console);
    devices.assign(static_cast<size_t>(plan->train_size()), "cpu");
  }
  const std::string state_dir =
      (std::filesystem::temp_directory_path() / absl::StrCat("penstock-generate-", RandomId())).string();
  const auto remove = absl::MakeCleanup([&state_dir] { RemoveTree(state_dir).IgnoreError(); });
  console->Talk(absl::StrCat("no coordinator at ", options.address, "; starting ", devices.size(),
                             devices.size() == 1 ? " worker" : " workers", " for ", checkpoint));
  const absl::StatusOr<std::unique_ptr<CoordinatorProcess>> process = StartLocalCluster(state_dir, devices);
  if (!process.ok()) return console->Fail(ExitCode::kFailed, process.status().message());
  Client client((*process)->address());
  v1::GenerateRequest request = RequestOf(options);
  request.set_checkpoint(checkpoint);
  absl::Status status = AwaitWorkers(LocalClusterSpec(state_dir, devices), &client, process->get());
  if (status.ok()) status = Stream(&client, request, options, canceller, console);
  EndLocalCluster(&client, process->get());
  return Finish(status, console);
}

int Generate(const Options& options, Console* console) {
  if (const auto refused = RefuseAddress(options.address, console)) return *refused;
  if (options.prompt.empty() == options.prompt_tokens.empty()) {
    return console->Fail(ExitCode::kBadUsage, "give either --prompt TEXT or --prompt-tokens 1,2,3");
  }
  Canceller canceller;
  Interrupts interrupts([&canceller](int count) { CancelOrExit(&canceller, count); });
  Client client(options.address);
  v1::GenerateRequest request = RequestOf(options);
  if (!NamesFolder(options.target)) {
    request.set_job(options.target);
    return Finish(Stream(&client, request, options, &canceller, console), console);
  }
  const absl::StatusOr<CheckpointArgument> found = FindCheckpoint(options.target);
  if (!found.ok()) return FailCall(found.status(), console);
  for (const std::string& skipped : found->skipped) console->Talk(absl::StrCat("damaged, passed over: ", skipped));
  if (!client.GetStatus().ok()) return GenerateAlone(options, found->path, &canceller, console);
  request.set_checkpoint(found->path);
  return Finish(Stream(&client, request, options, &canceller, console), console);
}

}  // namespace

void AddGenerate(CLI::App* app, CommandBody* chosen) {
  CLI::App* const command = app->add_subcommand(
      "generate", "Go on with a prompt, on the cluster or, for a folder where none answers, on one of this host's own");
  const auto options = std::make_shared<Options>();
  AddTarget(command, "CKPT|JOB", "A checkpoint's folder, a folder of them (the newest), or a job", &options->target)
      ->required();
  command->add_option("--prompt", options->prompt, "The text to go on with");
  command->add_option("--prompt-tokens", options->prompt_tokens, "Tokens instead of text: 1,2,3")->delimiter(',');
  command->add_option("--tokens", options->tokens, "How many tokens to make")->capture_default_str();
  command->add_option("--temperature", options->temperature, "0: always the most likely token")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--top-k", options->top_k, "Choose among the k most likely tokens; 0: all")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "The same seed gives the same text")->capture_default_str();
  AddDevices(command, "For a cluster of this host's own [cpu for each]", &options->devices);
  AddAddress(command, &options->address);
  AddFormat(command, {"text", "json"}, &options->format);
  command->callback([=] { *chosen = [options](Console* console) { return Generate(*options, console); }; });
}

}  // namespace penstock

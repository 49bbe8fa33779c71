#include "worker/runtime/rank_run.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "worker/runtime/executor.h"

namespace penstock {
namespace {

// More passes than any job has; keeps sums of pass numbers far from overflow.
constexpr uint64_t kMaxPasses = uint64_t{1} << 40;

struct PassOutcome {
  PassResult result;
  WalkTimes times;
};

absl::StatusOr<PassOutcome> RunPass(const RunContext& context, const Pass& pass) {
  PENSTOCK_RETURN_IF_ERROR(context.links->BeginPass());
  PENSTOCK_RETURN_IF_ERROR(Annotate(context.rank->BeginPass(pass), ToText(pass)));
  PassOutcome outcome;
  PENSTOCK_ASSIGN_OR_RETURN(outcome.times, WalkPass(context.plan->ListFor(pass.mode), pass, context.plan->bounds,
                                                    context.rank, context.links, *context.stop, context.clock));
  absl::StatusOr<PassResult> result = context.rank->EndPass();
  if (!result.ok()) return Annotate(result.status(), ToText(pass));
  outcome.result = *std::move(result);
  return outcome;
}

void Fill(const ActionTimes& times, v1::ActionTime* proto) {
  proto->set_count(times.count);
  proto->set_seconds(absl::ToDoubleSeconds(times.sum));
}

// The pass's compute actions, stage by stage.
void AddStages(const WalkTimes& walk, v1::StepVote* vote) {
  for (const auto& [key, times] : walk.actions) {  // in the order of stages
    const auto& [stage, kind] = key;
    const int last = vote->stages_size() - 1;
    if (last < 0 || vote->stages(last).stage() != static_cast<uint32_t>(stage)) {
      vote->add_stages()->set_stage(static_cast<uint32_t>(stage));
    }
    v1::StageTimes* proto = vote->mutable_stages(vote->stages_size() - 1);
    if (kind == ActionKind::kForward) Fill(times, proto->mutable_forward());
    if (kind == ActionKind::kInputGradient) Fill(times, proto->mutable_input_gradient());
    if (kind == ActionKind::kWeightGradient) Fill(times, proto->mutable_weight_gradient());
    if (kind == ActionKind::kRecompute) Fill(times, proto->mutable_recompute());
  }
}

v1::StepVote MakeVote(const RunContext& context, uint64_t step, const PassOutcome& outcome,
                      absl::Duration step_duration) {
  v1::StepVote vote;
  vote.set_job(context.plan->identity.job);
  vote.set_plan_epoch(context.plan->identity.plan_epoch);
  vote.set_worker(context.worker);
  vote.set_incarnation(context.plan->identity.incarnation);
  vote.set_rank(static_cast<uint32_t>(context.plan->identity.rank));
  vote.set_step(step);
  vote.set_finite(outcome.result.finite);
  vote.mutable_norms()->Assign(outcome.result.norms.begin(), outcome.result.norms.end());
  vote.mutable_losses()->Assign(outcome.result.losses.begin(), outcome.result.losses.end());
  vote.set_busy_seconds(absl::ToDoubleSeconds(outcome.times.busy));
  vote.set_pass_seconds(absl::ToDoubleSeconds(outcome.times.total));
  vote.set_step_seconds(absl::ToDoubleSeconds(step_duration));
  vote.set_receive_seconds(absl::ToDoubleSeconds(outcome.times.receive));
  vote.set_send_seconds(absl::ToDoubleSeconds(outcome.times.send));
  AddStages(outcome.times, &vote);
  const MemoryUse memory = context.rank->TrainingMemory();
  vote.set_state_bytes(memory.state_bytes);
  vote.set_peak_bytes(memory.peak_bytes);
  *vote.mutable_counters() = context.counters();
  return vote;
}

double MedianSeconds(std::vector<absl::Duration> durations) {
  if (durations.size() > 1) durations.erase(durations.begin());  // opens streams, touches new pages
  if (durations.empty()) return 0;
  std::sort(durations.begin(), durations.end());
  return absl::ToDoubleSeconds(durations[durations.size() / 2]);
}

// Each step: walk the list, vote, wait for the decision, update.
absl::Status RunSteps(const RunContext& context, const v1::RunRequest& request, v1::RunReply* reply) {
  reply->set_completed_step(request.from_step() - 1);
  absl::Duration previous = context.clock->Monotonic();
  absl::Duration commit, update;       // of the step before
  std::vector<absl::Duration> passes;  // probes only
  double loss_scale = request.loss_scale();
  for (uint64_t step = request.from_step(); step <= request.to_step(); ++step) {
    const Pass pass{.mode = v1::PASS_TRAIN,
                    .number = request.first_pass() + reply->passes(),
                    .step = step,
                    .loss_scale = loss_scale == 0 ? 1 : loss_scale};
    PENSTOCK_ASSIGN_OR_RETURN(const PassOutcome outcome, RunPass(context, pass));
    reply->set_passes(reply->passes() + 1);
    // From one vote to the next: a whole period, the update of the step before included.
    const absl::Duration now = context.clock->Monotonic();
    v1::StepVote vote = MakeVote(context, step, outcome, now - previous);
    vote.set_last_commit_seconds(absl::ToDoubleSeconds(commit));
    vote.set_last_update_seconds(absl::ToDoubleSeconds(update));
    previous = now;
    if (context.probe) {
      passes.push_back(outcome.times.total);
      reply->set_pass_seconds(MedianSeconds(passes));
    }
    const absl::StatusOr<v1::StepDecision> decision = context.committer->Commit(vote, context.stop);
    if (!decision.ok()) return Annotate(decision.status(), absl::StrCat(ToText(pass), ", commit"));
    const absl::Duration decided = context.clock->Monotonic();
    commit = decided - now;
    if (!decision->commit()) {
      context.rank->Discard();
      context.log->Write(context.plan->identity.job, context.plan->identity.rank,
                         absl::StrCat(ToText(pass), ": not committed, gradients dropped"));
      return absl::OkStatus();
    }
    PENSTOCK_RETURN_IF_ERROR(Annotate(context.rank->Update(*decision), absl::StrCat(ToText(pass), ", update")));
    loss_scale = decision->next_loss_scale();
    update = context.clock->Monotonic() - decided;
    reply->set_completed_step(step);
    if (context.log_every > 0 && step % context.log_every == 0) {
      context.log->Write(
          context.plan->identity.job, context.plan->identity.rank,
          absl::StrFormat("step %d: %.4f s, %.4f s of it computing", step, vote.step_seconds(), vote.busy_seconds()));
    }
    if (decision->last()) return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status RunEvaluation(const RunContext& context, const v1::RunRequest& request, v1::RunReply* reply) {
  for (uint64_t batch = request.from_step(); batch <= request.to_step(); ++batch) {
    const Pass pass{.mode = v1::PASS_EVAL, .number = request.first_pass() + reply->passes(), .step = batch};
    PENSTOCK_ASSIGN_OR_RETURN(const PassOutcome outcome, RunPass(context, pass));
    reply->set_passes(reply->passes() + 1);
    if (!outcome.result.eval.has_value()) continue;
    v1::EvalSums* sums = reply->mutable_eval();
    sums->set_loss_sum(sums->loss_sum() + outcome.result.eval->loss_sum());
    sums->set_targets(sums->targets() + outcome.result.eval->targets());
    sums->set_correct(sums->correct() + outcome.result.eval->correct());
  }
  return absl::OkStatus();
}

absl::Status RunGeneration(const RunContext& context, const v1::RunRequest& request, v1::RunReply* reply) {
  const Pass pass{.mode = v1::PASS_GENERATE,
                  .number = request.first_pass(),
                  .tokens = {request.tokens().begin(), request.tokens().end()},
                  .temperature = request.temperature(),
                  .top_k = request.top_k(),
                  .seed = request.seed()};
  PENSTOCK_ASSIGN_OR_RETURN(const PassOutcome outcome, RunPass(context, pass));
  reply->set_passes(1);
  if (outcome.result.next_token.has_value()) reply->set_next_token(*outcome.result.next_token);
  return absl::OkStatus();
}

absl::Status CheckRange(const v1::RunRequest& request) {
  const uint64_t from = request.from_step(), to = request.to_step();
  if (request.first_pass() > kMaxPasses) return absl::InvalidArgumentError("first_pass is absurd");
  if (request.mode() == v1::PASS_GENERATE) return absl::OkStatus();
  if (to < from || to > kMaxPasses || (request.mode() == v1::PASS_TRAIN && from == 0)) {
    return absl::InvalidArgumentError(absl::StrCat("no range to run: from ", from, " to ", to));
  }
  return absl::OkStatus();
}

absl::Status RunMode(const RunContext& context, const v1::RunRequest& request, v1::RunReply* reply) {
  PENSTOCK_RETURN_IF_ERROR(CheckRange(request));
  const uint64_t passes = request.mode() == v1::PASS_GENERATE ? 1 : request.to_step() - request.from_step() + 1;
  switch (request.mode()) {
    case v1::PASS_TRAIN:
    case v1::PASS_EVAL:
    case v1::PASS_GENERATE:
      context.links->BeginRange(request.mode(), request.first_pass(), passes);
      break;
    default:
      return absl::InvalidArgumentError("the request names no mode");
  }
  if (request.mode() == v1::PASS_TRAIN) return RunSteps(context, request, reply);
  if (request.mode() == v1::PASS_EVAL) return RunEvaluation(context, request, reply);
  return RunGeneration(context, request, reply);
}

}  // namespace

absl::StatusOr<v1::RunReply> RunPasses(const RunContext& context, const v1::RunRequest& request) {
  const RankIdentity& identity = context.plan->identity;
  const std::string where = absl::StrCat("job ", identity.job, ", rank ", identity.rank);
  v1::RunReply reply;
  const absl::Status status = RunMode(context, request, &reply);
  if (!status.ok()) return Annotate(status, where);
  if (request.hash()) {
    absl::StatusOr<std::vector<v1::TensorHash>> hashes = context.rank->Hashes();
    if (!hashes.ok()) return Annotate(hashes.status(), where);
    reply.mutable_hashes()->Assign(hashes->begin(), hashes->end());
  }
  return reply;
}

}  // namespace penstock

#include "coordinator/link_probe.h"

#include <algorithm>
#include <utility>

#include "common/action.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "coordinator/gather.h"

namespace penstock {
namespace {

constexpr int kRanks = 2;
constexpr int kPasses = 9;  // the first pays for opening the streams and for pages

// A page: its transfer takes a few microseconds at most. And what several pieces make, so that they follow each other
// as a layer's output does.
constexpr int64_t kSmallBytes = 4 << 10;
constexpr int kSmallTurns = 8;
constexpr int64_t kLargeBytes = 8 << 20;
constexpr int kLargeTurns = 4;

// The latency is that of a message between computations: by then threads sleep and caches have cooled, and it takes
// several times as long as in a mere exchange of messages.
constexpr int64_t kPauseUs = 10'000;

// Two layers with `bytes` between them, each of which waits before it sends.
v1::JobSpec SpecOf(int64_t bytes, int turns, int64_t pause_us) {
  v1::JobSpec spec;
  spec.set_name("probe");
  v1::Model* model = spec.mutable_model();
  model->mutable_input()->set_dtype(v1::DTYPE_FLOAT32);
  model->mutable_input()->add_shape(bytes / static_cast<int64_t>(sizeof(float)));
  model->set_loss(v1::LOSS_CROSS_ENTROPY);  // any that takes the output's shape: it is never computed
  for (const char* name : {"sender", "receiver"}) {
    v1::Layer* layer = model->add_layers();
    layer->set_name(name);
    layer->mutable_delay();
  }
  model->mutable_layers(0)->mutable_delay()->set_forward_us(pause_us);
  model->mutable_layers(1)->mutable_delay()->set_input_grad_us(pause_us);
  spec.mutable_train()->set_batch_size(turns);
  return spec;
}

// Each rank sends once it has received, so that exactly one message is under way.
v1::Plan PlanOf(int turns) {
  v1::Plan plan;
  plan.set_schedule("probe");
  plan.set_micro_batches(turns);
  ActionList first, second;
  for (int m = 0; m < turns; ++m) {
    for (const ActionKind kind :
         {ActionKind::kForward, ActionKind::kSendForward, ActionKind::kRecvBackward, ActionKind::kBackward}) {
      first.push_back({0, kind, m});
    }
    for (const ActionKind kind :
         {ActionKind::kRecvForward, ActionKind::kForward, ActionKind::kBackward, ActionKind::kSendBackward}) {
      second.push_back({1, kind, m});
    }
  }
  for (int s = 0; s < kRanks; ++s) {
    v1::Stage* stage = plan.add_stages();
    stage->set_first_layer(s);
    stage->set_end_layer(s + 1);
    stage->set_rank(s);
    *plan.add_train() = ToProto(s == 0 ? first : second);
    plan.add_forward();
  }
  return plan;
}

// Half a turn without its pauses, in microseconds.
absl::StatusOr<double> OneWayUs(WorkerLease* lease, uint64_t epoch, int64_t bytes, int turns, int64_t pause_us,
                                const std::function<bool()>& cancelled) {
  Gather<v1::LoadReply> loads(kRanks);
  std::vector<std::shared_ptr<WorkerCall>> calls;
  for (int r = 0; r < kRanks; ++r) {
    v1::LoadRequest request;
    request.set_job(lease->name());
    request.set_plan_epoch(epoch);
    request.set_incarnation(lease->workers()[r].incarnation);
    request.set_rank(r);
    request.set_probe(true);
    *request.mutable_spec() = SpecOf(bytes, turns, pause_us);
    *request.mutable_plan() = PlanOf(turns);
    for (int n = 0; n < kRanks; ++n) {
      v1::Neighbour* neighbour = request.add_ranks();
      neighbour->set_rank(n);
      neighbour->set_worker(lease->workers()[n].id);
      neighbour->set_incarnation(lease->workers()[n].incarnation);
      neighbour->set_address(lease->workers()[n].address);
    }
    lease->client(r).Load(calls.emplace_back(lease->NewCall()), std::move(request), loads.Take(r));
  }
  PENSTOCK_RETURN_IF_ERROR(loads.WaitUnless(cancelled, calls).status());
  calls.clear();
  Gather<v1::RunReply> runs(kRanks);
  for (int r = 0; r < kRanks; ++r) {
    v1::RunRequest request;
    request.set_job(lease->name());
    request.set_plan_epoch(epoch);
    request.set_incarnation(lease->workers()[r].incarnation);
    request.set_mode(v1::PASS_TRAIN);
    request.set_first_pass(1);
    request.set_from_step(1);
    request.set_to_step(kPasses);
    lease->client(r).Run(calls.emplace_back(lease->NewCall()), std::move(request), runs.Take(r));
  }
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<v1::RunReply> replies, runs.WaitUnless(cancelled, calls));
  return std::max(replies[0].pass_seconds() * 1e6 / (2.0 * turns) - static_cast<double>(pause_us), 0.0);
}

void UnloadBoth(WorkerLease* lease) {
  Gather<v1::UnloadReply> unloads(kRanks);
  for (int r = 0; r < kRanks; ++r) {
    v1::UnloadRequest request;
    request.set_job(lease->name());
    request.set_incarnation(lease->workers()[r].incarnation);
    lease->client(r).Unload(lease->NewCall(), std::move(request), unloads.Take(r));
  }
  const absl::Status status = unloads.Wait().status();
  if (!status.ok()) LOG(WARNING) << lease->name() << ": " << status;
}

}  // namespace

absl::StatusOr<LinkTimes> ProbeLink(WorkerLease* lease, const std::function<uint64_t()>& new_epoch,
                                    const std::function<bool()>& cancelled) {
  CHECK_GE(lease->workers().size(), static_cast<size_t>(kRanks));
  absl::StatusOr<double> small = OneWayUs(lease, new_epoch(), kSmallBytes, kSmallTurns, kPauseUs, cancelled);
  absl::StatusOr<double> large = small;
  if (small.ok()) large = OneWayUs(lease, new_epoch(), kLargeBytes, kLargeTurns, kPauseUs, cancelled);
  UnloadBoth(lease);
  PENSTOCK_RETURN_IF_ERROR(large.status());
  // A pass of no time at all cannot be: but a clock may be coarse, and a rate must be a number.
  const double beyond_us = std::max(*large - *small, 1.0);
  return LinkTimes{*small, static_cast<double>(kLargeBytes - kSmallBytes) / beyond_us};
}

}  // namespace penstock

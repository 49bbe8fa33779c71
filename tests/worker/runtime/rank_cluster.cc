#include "tests/worker/runtime/rank_cluster.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/blocking_counter.h"
#include "common/channel.h"
#include "common/logging.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

constexpr size_t kKeptVotes = 64;

// The order of computations of one rank (one stage a rank).
ActionList ComputeOrder(const std::string& schedule, int ranks, int rank, int micro_batches) {
  ActionList order;
  const int warm_up = schedule == "gpipe" ? micro_batches : std::min(micro_batches, ranks - 1 - rank);
  for (int i = 0; i < warm_up; ++i) order.push_back({rank, ActionKind::kForward, i});
  for (int i = 0; i < micro_batches; ++i) {
    if (warm_up + i < micro_batches) order.push_back({rank, ActionKind::kForward, warm_up + i});
    order.push_back({rank, ActionKind::kBackward, i});
  }
  return order;
}

ActionList Parse(const std::string& text) {
  ActionList list;
  for (const absl::string_view item : absl::StrSplit(text, ' ')) {
    absl::StatusOr<Action> action = ActionFromText(item);
    CHECK(action.ok()) << action.status();
    list.push_back(*action);
  }
  return list;
}

// Puts each receive right before the action that needs it, each send right after the one that made it.
ActionList WithTransfers(const ActionList& order, const std::vector<int>& rank_of_stage) {
  const int stages = static_cast<int>(rank_of_stage.size());
  const auto elsewhere = [&](int stage, int other) {
    return other >= 0 && other < stages && rank_of_stage[other] != rank_of_stage[stage];
  };
  ActionList list;
  for (const Action& action : order) {
    const auto [stage, kind, micro_batch, fused] = action;
    const bool forward = kind == ActionKind::kForward;
    const bool moves = forward || kind == ActionKind::kBackward || kind == ActionKind::kInputGradient;
    const int from = forward ? stage - 1 : stage + 1, to = forward ? stage + 1 : stage - 1;
    if (moves && elsewhere(stage, from)) {
      list.push_back({stage, forward ? ActionKind::kRecvForward : ActionKind::kRecvBackward, micro_batch});
    }
    list.push_back(action);
    if (moves && elsewhere(stage, to)) {
      list.push_back({stage, forward ? ActionKind::kSendForward : ActionKind::kSendBackward, micro_batch});
    }
  }
  return list;
}

}  // namespace

v1::LoadRequest MakeLoad(const PipelineShape& shape) {
  v1::LoadRequest load;
  load.set_job("job-1");
  load.set_plan_epoch(1);
  v1::Model* model = load.mutable_spec()->mutable_model();
  model->mutable_input()->set_dtype(v1::DTYPE_FLOAT32);
  model->mutable_input()->add_shape(shape.features);
  model->set_loss(v1::LOSS_CROSS_ENTROPY);
  load.mutable_spec()->mutable_train()->set_batch_size(static_cast<uint32_t>(shape.batch));
  v1::Plan* plan = load.mutable_plan();
  plan->set_micro_batches(static_cast<uint32_t>(shape.micro_batches));
  std::vector<int> rank_of_stage = shape.rank_of_stage;
  for (int i = 0; shape.rank_of_stage.empty() && i < shape.ranks; ++i) rank_of_stage.push_back(i);
  for (size_t i = 0; i < rank_of_stage.size(); ++i) {
    v1::Layer* layer = model->add_layers();
    layer->set_name(absl::StrCat("relu_", i));
    layer->mutable_relu();
    if (i + 1 == rank_of_stage.size() && !shape.skips.empty()) {
      layer->mutable_add();
      for (const int skip : shape.skips) layer->add_from(absl::StrCat("relu_", skip));
      layer->add_from(absl::StrCat("relu_", i - 1));
    }
    v1::Stage* stage = plan->add_stages();
    stage->set_first_layer(static_cast<uint32_t>(i));
    stage->set_end_layer(static_cast<uint32_t>(i + 1));
    stage->set_rank(static_cast<uint32_t>(rank_of_stage[i]));
  }
  for (int i = 0; i < shape.ranks; ++i) {
    const ActionList order = shape.compute.empty() ? ComputeOrder(shape.schedule, shape.ranks, i, shape.micro_batches)
                                                   : Parse(shape.compute[i]);
    ActionList forward = order;
    forward.erase(std::remove_if(forward.begin(), forward.end(),
                                 [](const Action& action) { return action.kind != ActionKind::kForward; }),
                  forward.end());
    *plan->add_train() = ToProto(WithTransfers(order, rank_of_stage));
    *plan->add_forward() = ToProto(WithTransfers(forward, rank_of_stage));
    v1::Neighbour* neighbour = load.add_ranks();
    neighbour->set_rank(static_cast<uint32_t>(i));
    neighbour->set_worker(absl::StrCat("localhost/cpu.", i));
    neighbour->set_incarnation(static_cast<uint64_t>(100 + i));
  }
  return load;
}

absl::StatusOr<v1::StepDecision> FakeCommitter::Commit(const v1::StepVote& vote, StopSignal* stop) {
  // The signal runs its callbacks under its own lock: it must not be asked for its status under this one's.
  std::atomic<bool> stopped = false;
  const auto on_stop = stop->OnStop([this, &stopped](const absl::Status&) {
    absl::MutexLock lock(&mu_);
    stopped = true;
  });
  {
    absl::MutexLock lock(&mu_);
    votes_.push_back(vote);
    if (votes_.size() > kKeptVotes) votes_.pop_front();
    ++count_[vote.step()];
    // Whoever votes for a step has been told the decision of the one before; others may still be reading that one.
    count_.erase(count_.begin(), count_.lower_bound(std::max<uint64_t>(vote.step(), 1) - 1));
    const auto ready = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return count_[vote.step()] == ranks_ || stopped; };
    mu_.Await(absl::Condition(&ready));
  }
  PENSTOCK_RETURN_IF_ERROR(stop->status());
  absl::MutexLock lock(&mu_);
  v1::StepDecision decision;
  decision.set_commit(vote.step() != refused_);
  decision.set_clip_scale(1);
  decision.set_last(vote.step() == last_);
  return decision;
}

void FakeCommitter::EndAfter(uint64_t step) {
  absl::MutexLock lock(&mu_);
  last_ = step;
}

void FakeCommitter::RefuseStep(uint64_t step) {
  absl::MutexLock lock(&mu_);
  refused_ = step;
}

std::vector<v1::StepVote> FakeCommitter::votes() const {
  absl::MutexLock lock(&mu_);
  return {votes_.begin(), votes_.end()};
}

void FakeJobLog::Write(const std::string& job, int rank, absl::string_view text) {
  absl::MutexLock lock(&mu_);
  lines_.push_back(absl::StrCat(job, " rank ", rank, ": ", text));
}

std::vector<std::string> FakeJobLog::lines() const {
  absl::MutexLock lock(&mu_);
  return lines_;
}

void FakeJobLog::Await(const std::string& text) const {
  absl::MutexLock lock(&mu_);
  const auto has = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return std::any_of(lines_.begin(), lines_.end(),
                       [&](const std::string& line) { return absl::StrContains(line, text); });
  };
  mu_.Await(absl::Condition(&has));
}

RankCluster::RankCluster(const PipelineShape& shape, Clock* clock, FakeDevice::BeforeAction before)
    : clock_(clock), load_(MakeLoad(shape)), committer_(shape.ranks) {
  for (int i = 0; i < shape.ranks; ++i) {
    auto rank = std::make_unique<RankProcess>();
    rank->device = std::make_unique<FakeDevice>(before);
    grpc::ServerBuilder builder;
    int port = 0;
    PrepareServer(&builder, "127.0.0.1:0", &port);
    PrepareForTensors(&builder);
    builder.RegisterService(&rank->exchange);
    rank->server = builder.BuildAndStart();
    CHECK(rank->server != nullptr);
    rank->address = absl::StrCat("127.0.0.1:", port);
    load_.mutable_ranks(i)->set_address(rank->address);
    ranks_.push_back(std::move(rank));
  }
}

RankCluster::~RankCluster() {
  for (size_t i = 0; i < ranks_.size(); ++i) Kill(static_cast<int>(i));
}

v1::LoadRequest RankCluster::LoadRequestFor(int rank) const {
  v1::LoadRequest request = load_;
  request.set_rank(static_cast<uint32_t>(rank));
  request.set_incarnation(load_.ranks(rank).incarnation());
  return request;
}

void RankCluster::Load() {
  for (size_t i = 0; i < ranks_.size(); ++i) {
    RankProcess& rank = *ranks_[i];
    auto session = RankSession::Load({.device = rank.device.get(),
                                      .exchange = &rank.exchange,
                                      .committer = &committer_,
                                      .log = &log_,
                                      .clock = clock_,
                                      .worker = load_.ranks(static_cast<int>(i)).worker()},
                                     LoadRequestFor(static_cast<int>(i)));
    CHECK(session.ok()) << session.status();
    rank.session = *std::move(session);
  }
}

std::vector<absl::StatusOr<v1::RunReply>> RankCluster::Run(v1::RunRequest request) {
  request.set_job(load_.job());
  request.set_plan_epoch(load_.plan_epoch());
  std::vector<absl::StatusOr<v1::RunReply>> replies(ranks_.size());
  absl::BlockingCounter left(static_cast<int>(ranks_.size()));
  for (size_t i = 0; i < ranks_.size(); ++i) {
    ranks_[i]->session->Run(request, [&replies, &left, i](absl::StatusOr<v1::RunReply> reply) {
      replies[i] = std::move(reply);
      left.DecrementCount();
    });
  }
  left.Wait();
  return replies;
}

void RankCluster::Kill(int rank) {
  RankProcess& process = *ranks_[rank];
  if (process.session != nullptr) process.session->End();
  process.server->Shutdown(absl::ToChronoTime(absl::Now()));
}

v1::RunRequest RankCluster::Train(uint64_t first_pass, uint64_t from, uint64_t to) {
  v1::RunRequest request;
  request.set_mode(v1::PASS_TRAIN);
  request.set_first_pass(first_pass);
  request.set_from_step(from);
  request.set_to_step(to);
  return request;
}

}  // namespace penstock

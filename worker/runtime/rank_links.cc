#include "worker/runtime/rank_links.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/status_macros.h"

namespace penstock {

RankLinks::RankLinks(const RankPlan* plan, ExchangeService* exchange, JobLog* log, Clock* clock,
                     std::shared_ptr<StopSignal> stop)
    : plan_(plan),
      exchange_(exchange),
      log_(log),
      clock_(clock),
      stop_(std::move(stop)),
      receiver_(std::make_shared<Receiver>(plan->identity, plan->bounds, CreditBudget(*plan), clock, stop_)) {
  for (const ActionList* list : {&plan->train, &plan->forward}) {
    for (const auto& [key, sent] : SentTensors(*plan, *list)) {
      Link& link = links_[key];
      link.per_pass = std::max(link.per_pass, sent.size());
    }
  }
  for (auto& [key, link] : links_) {
    auto sent = SentTensors(*plan, plan->train);
    if (sent[key].empty()) sent = SentTensors(*plan, plan->forward);
    link.sender = std::make_unique<PeerSender>(plan->identity, key.first, sent[key].front(), 2 * link.per_pass, clock,
                                               [stop = stop_](const absl::Status& why) { stop->Stop(why); });
  }
  exchange_->SetReceiver(receiver_);
  on_stop_ = stop_->OnStop([this](const absl::Status& why) {
    receiver_->Close(why);
    for (auto& [key, link] : links_) link.sender->Cancel(why);
  });
}

RankLinks::~RankLinks() {
  exchange_->RemoveReceiver(receiver_.get());
  stop_->Stop(absl::CancelledError("the rank is being unloaded"));
  on_stop_.reset();
}

void RankLinks::BeginRange(v1::PassMode mode, uint64_t first_pass, uint64_t passes) {
  receiver_->BeginRange(ExpectedTensors(*plan_, plan_->ListFor(mode)), first_pass, passes);
  if (std::exchange(opened_, true)) return;
  for (auto& [key, link] : links_) link.sender->Open();
}

absl::Status RankLinks::BeginPass() {
  for (auto& [key, link] : links_) {
    PENSTOCK_RETURN_IF_ERROR(link.sender->AwaitQueued(link.per_pass, clock_->Monotonic() + limits::kMailboxWait));
  }
  return absl::OkStatus();
}

absl::StatusOr<ReceivedTensor> RankLinks::Receive(const BoundaryKey& key) {
  const absl::Duration start = clock_->Monotonic();
  absl::StatusOr<ReceivedTensor> tensor = receiver_->Take(key, start + limits::kStalledNotice);
  if (tensor.ok() || tensor.status().code() != absl::StatusCode::kDeadlineExceeded) return tensor;
  const int from = plan_->identity.rank_of_stage[*plan_->identity.SourceStage(key)];
  log_->Write(plan_->identity.job, plan_->identity.rank,
              absl::StrCat("waiting for ", plan_->identity.Describe(from), ": ", tensor.status().message()));
  tensor = receiver_->Take(key, start + limits::kMailboxWait);
  if (tensor.ok() || tensor.status().code() != absl::StatusCode::kDeadlineExceeded) return tensor;
  return Annotate(tensor.status(), absl::StrCat("waited ", absl::FormatDuration(limits::kMailboxWait), " for ",
                                                plan_->identity.Describe(from)));
}

absl::Status RankLinks::Send(const BoundaryKey& key, TensorView tensor) {
  return links_.at({plan_->identity.rank_of_stage[key.stage], key.direction}).sender->Send(key, std::move(tensor));
}

void RankLinks::Count(v1::Counters* counters) const {
  uint64_t frames = 0, bytes = 0, shared_bytes = 0;
  for (const auto& [key, link] : links_) {
    const PeerSender::Counts counts = link.sender->counts();
    frames += counts.frames_sent;
    bytes += counts.bytes_sent;
    shared_bytes += counts.shared_bytes_sent;
  }
  const Mailbox::Counts mailbox = receiver_->mailbox().counts();
  counters->set_frames_sent(frames);
  counters->set_bytes_sent(bytes);
  counters->set_shared_bytes_sent(shared_bytes);
  counters->set_frames_received(mailbox.frames_received);
  counters->set_bytes_received(mailbox.bytes_received);
  counters->set_frames_dropped(mailbox.frames_dropped);
  counters->set_mailbox_bytes(mailbox.held_bytes);
}

}  // namespace penstock

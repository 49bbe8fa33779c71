#include "worker/runtime/receiver.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

bool IsOpening(const v1::Frame& header) { return header.total_bytes() == 0 && header.shape_size() == 0; }

}  // namespace

std::optional<int> RankIdentity::SourceStage(const BoundaryKey& key) const {
  const int stages = static_cast<int>(rank_of_stage.size());
  const int source = key.direction == v1::DIRECTION_FORWARD    ? key.stage - 1
                     : key.direction == v1::DIRECTION_BACKWARD ? key.stage + 1
                                                               : -1;
  if (key.stage < 0 || key.stage >= stages || source < 0 || source >= stages) return std::nullopt;
  return source;
}

std::string RankIdentity::Describe(int rank) const {
  return absl::StrCat("rank ", rank, " (worker ", ranks[rank].worker(), ")");
}

Receiver::Receiver(RankIdentity identity, BoundaryBounds bounds, size_t budget_bytes, Clock* clock,
                   std::shared_ptr<StopSignal> stop)
    : identity_(std::move(identity)), stop_(std::move(stop)), mailbox_(std::move(bounds), budget_bytes, clock) {}

// A link is a neighbour and a direction. REQUIRES: the plan has the boundary.
int Receiver::LinkOf(const BoundaryKey& key) const {
  const int rank = identity_.rank_of_stage[*identity_.SourceStage(key)];
  return 2 * rank + (key.direction == v1::DIRECTION_BACKWARD ? 1 : 0);
}

absl::Status Receiver::CheckOrigin(const v1::Frame& header, std::optional<int> link) const {
  if (header.job() != identity_.job || header.plan_epoch() != identity_.plan_epoch) {
    return absl::FailedPreconditionError(absl::StrCat("a frame of job ", header.job(), ", plan epoch ",
                                                      header.plan_epoch(), "; loaded here is job ", identity_.job,
                                                      ", plan epoch ", identity_.plan_epoch));
  }
  const BoundaryKey key = FromProto(header.key());
  const std::optional<int> source = identity_.SourceStage(key);
  if (!source.has_value() || identity_.rank_of_stage[key.stage] != identity_.rank ||
      identity_.rank_of_stage[*source] == identity_.rank || (link.has_value() && LinkOf(key) != *link)) {
    return absl::InvalidArgumentError(
        absl::StrCat(ToText(key), ": the plan sends no such tensor to rank ", identity_.rank, " over this stream"));
  }
  const int rank = identity_.rank_of_stage[*source];
  if (header.sender_incarnation() != identity_.ranks[rank].incarnation()) {
    return absl::AbortedError(absl::StrCat(ToText(key), ": sent by incarnation ", header.sender_incarnation(), " of ",
                                           identity_.Describe(rank), "; the plan names incarnation ",
                                           identity_.ranks[rank].incarnation()));
  }
  return absl::OkStatus();
}

absl::StatusOr<int> Receiver::Attach(const v1::Frame& opening, std::shared_ptr<CreditStream> stream) {
  PENSTOCK_RETURN_IF_ERROR(CheckOrigin(opening, std::nullopt));
  const BoundaryKey key = FromProto(opening.key());
  if (!IsOpening(opening)) {
    return absl::InvalidArgumentError(absl::StrCat(ToText(key), ": a stream's first frame carries no tensor"));
  }
  const int link = LinkOf(key);
  {
    absl::MutexLock lock(&mu_);
    if (closed_) return absl::FailedPreconditionError("the rank has stopped");
    if (!streams_.try_emplace(link, std::move(stream)).second) {
      return absl::FailedPreconditionError(
          absl::StrCat(identity_.Describe(link / 2), " has opened this stream already"));
    }
  }
  // Registered first, then asked: a grant between the two is sent twice, which does no harm, and never not at all.
  std::vector<Grant> grants;
  for (Grant& grant : mailbox_.Granted()) {
    if (grant.link == link) grants.push_back(std::move(grant));
  }
  Send(grants);
  return link;
}

absl::Status Receiver::Deliver(int link, const ReceivedFrame& frame) {
  PENSTOCK_RETURN_IF_ERROR(CheckOrigin(frame.header, link));
  return mailbox_.Deposit(frame);
}

void Receiver::Detach(int link, const absl::Status& why) {
  {
    absl::MutexLock lock(&mu_);
    streams_.erase(link);
    if (closed_) return;
  }
  stop_->Stop(why);
}

void Receiver::BeginRange(std::vector<ExpectedTensor> expected, uint64_t first_pass, uint64_t passes) {
  for (ExpectedTensor& tensor : expected) tensor.link = LinkOf(tensor.key);
  Send(mailbox_.BeginRange(std::move(expected), first_pass, passes));
}

absl::StatusOr<ReceivedTensor> Receiver::Take(const BoundaryKey& key, absl::Duration deadline) {
  PENSTOCK_ASSIGN_OR_RETURN(Mailbox::TakenTensor taken, mailbox_.Take(key, deadline));
  Send(taken.grants);
  return std::move(taken.tensor);
}

void Receiver::Send(const std::vector<Grant>& grants) {
  absl::flat_hash_map<int, v1::Credit> credits;
  for (const Grant& grant : grants) *credits[grant.link].add_grants() = ToProto(grant.key);
  for (auto& [link, credit] : credits) {
    std::shared_ptr<CreditStream> stream;
    {
      absl::MutexLock lock(&mu_);
      const auto found = streams_.find(link);
      if (found == streams_.end()) continue;  // it will be told when it opens
      stream = found->second;
    }
    credit.set_job(identity_.job);
    credit.set_plan_epoch(identity_.plan_epoch);
    credit.set_receiver_incarnation(identity_.incarnation);
    stream->SendCredit(credit);
  }
}

void Receiver::Close(const absl::Status& why) {
  mailbox_.Poison(why);
  absl::flat_hash_map<int, std::shared_ptr<CreditStream>> streams;
  {
    absl::MutexLock lock(&mu_);
    closed_ = true;
    streams = streams_;
  }
  for (auto& [link, stream] : streams) stream->Close(why);
}

}  // namespace penstock

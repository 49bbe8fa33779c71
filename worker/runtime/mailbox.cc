#include "worker/runtime/mailbox.h"

#include <cstring>
#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/status_macros.h"

namespace penstock {

Mailbox::Mailbox(BoundaryBounds bounds, size_t budget_bytes, Clock* clock)
    : bounds_(std::move(bounds)), clock_(clock), pool_(limits::kMaxPooledBytes), planner_(budget_bytes) {}

std::vector<Grant> Mailbox::BeginRange(std::vector<ExpectedTensor> expected, uint64_t first_pass, uint64_t passes) {
  absl::MutexLock lock(&mu_);
  absl::erase_if(entries_, [&](const auto& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (item.first.pass >= first_pass) return false;
    counts_.held_bytes -= item.second.total_bytes;
    return true;
  });
  return planner_.BeginRange(std::move(expected), first_pass, passes);
}

std::vector<Grant> Mailbox::Granted() const {
  absl::MutexLock lock(&mu_);
  return planner_.Granted();
}

Mailbox::Claim Mailbox::ClaimPiece(Entry* entry, uint64_t begin, uint64_t end) {
  std::map<uint64_t, uint64_t>& pieces = entry->pieces;
  auto next = pieces.upper_bound(begin);
  if (next != pieces.begin()) {
    const auto previous = std::prev(next);
    if (previous->second >= end) return Claim::kDuplicate;
    if (previous->second > begin) return Claim::kOverlap;
    if (previous->second == begin) {
      begin = previous->first;
      pieces.erase(previous);
    }
  }
  if (next != pieces.end() && next->first < end) return Claim::kOverlap;
  if (next != pieces.end() && next->first == end) {
    end = next->second;
    pieces.erase(next);
  }
  pieces[begin] = end;
  return Claim::kNew;
}

absl::Status Mailbox::Reserve(const ReceivedFrame& frame, const BoundaryKey& key, std::shared_ptr<char[]>* dest) {
  const v1::Frame& header = frame.header;
  TensorMeta meta{header.dtype(), {header.shape().begin(), header.shape().end()}};
  absl::MutexLock lock(&mu_);
  PENSTOCK_RETURN_IF_ERROR(poison_);
  ++counts_.frames_received;
  counts_.bytes_received += frame.payload.size();
  switch (planner_.StateOf(key)) {
    case CreditPlanner::State::kTaken:
      ++counts_.frames_dropped;
      return absl::OkStatus();
    case CreditPlanner::State::kNotGranted:
      return absl::ResourceExhaustedError(absl::StrCat(ToText(key), ": was sent without credit"));
    case CreditPlanner::State::kGranted:
      break;
  }
  const auto [found, is_new] = entries_.try_emplace(key);
  Entry& entry = found->second;
  if (is_new) {
    entry.meta = std::move(meta);
    entry.total_bytes = header.total_bytes();
    entry.data = pool_.Get(entry.total_bytes);
    if (entry.data == nullptr) {
      const size_t bytes = entry.total_bytes;
      entries_.erase(found);
      return absl::ResourceExhaustedError(absl::StrCat(ToText(key), ": the host refused memory for its ", bytes,
                                                       " bytes; give the worker more, or take smaller micro-batches"));
    }
    counts_.held_bytes += entry.total_bytes;
  } else if (entry.meta != meta || entry.total_bytes != header.total_bytes()) {
    return absl::InvalidArgumentError(absl::StrCat(ToText(key), ": its pieces differ in dtype, shape or size"));
  }
  switch (ClaimPiece(&entry, header.offset(), header.offset() + frame.payload.size())) {
    case Claim::kNew:
      *dest = entry.data;
      return absl::OkStatus();
    case Claim::kDuplicate:
      ++counts_.frames_dropped;
      return absl::OkStatus();
    case Claim::kOverlap:
      break;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(ToText(key), ": the piece at offset ", header.offset(), " overlaps another"));
}

absl::Status Mailbox::Deposit(const ReceivedFrame& frame) {
  PENSTOCK_RETURN_IF_ERROR(bounds_.Check(frame.header, frame.payload.size()));
  const BoundaryKey key = FromProto(frame.header.key());
  std::shared_ptr<char[]> dest;
  PENSTOCK_RETURN_IF_ERROR(Reserve(frame, key, &dest));
  if (dest == nullptr) return absl::OkStatus();
  // The copy runs without the lock: no other piece can claim this place.
  const uint64_t checksum = frame.payload.CopyTo(dest.get() + frame.header.offset());
  if (checksum != frame.header.checksum()) {
    return absl::DataLossError(
        absl::StrCat(ToText(key), ": the checksum of the piece at offset ", frame.header.offset(), " does not match"));
  }
  absl::MutexLock lock(&mu_);
  const auto found = entries_.find(key);
  if (found != entries_.end()) found->second.copied_bytes += frame.payload.size();
  return absl::OkStatus();
}

absl::StatusOr<Mailbox::TakenTensor> Mailbox::Take(const BoundaryKey& key, absl::Duration deadline) {
  absl::MutexLock lock(&mu_);
  const auto ready = [this, &key]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!poison_.ok()) return true;
    const auto found = entries_.find(key);
    return found != entries_.end() && found->second.copied_bytes == found->second.total_bytes;
  };
  const bool came = clock_->AwaitUntil(&mu_, absl::Condition(&ready), deadline);
  PENSTOCK_RETURN_IF_ERROR(poison_);
  const auto found = entries_.find(key);
  if (!came) {
    const std::string part = found == entries_.end() ? "nothing of it has come"
                                                     : absl::StrCat(found->second.copied_bytes, " of its ",
                                                                    found->second.total_bytes, " bytes have come");
    const int from = key.direction == v1::DIRECTION_FORWARD ? key.stage - 1 : key.stage + 1;
    return absl::DeadlineExceededError(
        absl::StrCat(ToText(key), " did not come from stage ", from, " in time: ", part));
  }
  Entry entry = std::move(found->second);
  entries_.erase(found);
  counts_.held_bytes -= entry.total_bytes;
  TakenTensor taken;
  taken.tensor = {.meta = std::move(entry.meta), .data = std::move(entry.data), .bytes = entry.total_bytes};
  taken.grants = planner_.Taken(key);
  return taken;
}

void Mailbox::Poison(const absl::Status& why) {
  absl::MutexLock lock(&mu_);
  if (poison_.ok()) poison_ = why;
  entries_.clear();
  counts_.held_bytes = 0;
}

Mailbox::Counts Mailbox::counts() const {
  absl::MutexLock lock(&mu_);
  return counts_;
}

}  // namespace penstock

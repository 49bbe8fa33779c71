#include "coordinator/membership.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/channel.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/version.h"

namespace penstock {
namespace {

constexpr size_t kMaxIdLength = 128;

absl::Status CheckId(absl::string_view id) {
  const bool good = !id.empty() && id.size() <= kMaxIdLength && std::all_of(id.begin(), id.end(), [](char c) {
    return absl::ascii_isalnum(c) || absl::string_view("._/:-").find(c) != absl::string_view::npos;
  });
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("'", id, "' cannot be a worker's id: it takes 1 to ", kMaxIdLength, " of A-Z a-z 0-9 . _ / : -"));
}

std::string Process(const v1::RegisterRequest& worker) {
  return absl::StrCat("pid ", worker.pid(), " on ", worker.host());
}

}  // namespace

Membership::Membership(const std::vector<WorkerSpec>& expected, absl::Duration every, absl::Duration lost_after)
    : every_(every), lost_after_(lost_after) {
  for (const WorkerSpec& spec : expected) {
    Worker& worker = workers_.emplace_back();
    worker.id = spec.id;
    worker.expected = true;
    worker.memory_bytes = spec.memory_bytes;
    worker.reason = "has not registered yet";
    worker.registered.set_host(spec.host);
    worker.registered.set_device(spec.device);
  }
}

absl::StatusOr<std::optional<v1::RegisterReply>> Membership::CheckRegister(const v1::RegisterRequest& request) const {
  PENSTOCK_RETURN_IF_ERROR(CheckId(request.id()));
  if (request.version() != kVersion) {
    return absl::FailedPreconditionError(absl::StrCat("worker ", request.id(), " is Penstock ", request.version(),
                                                      ", the coordinator is ", kVersion,
                                                      ": install the same version on both"));
  }
  PENSTOCK_RETURN_IF_ERROR(Annotate(CheckLoopback(request.address()), absl::StrCat("worker ", request.id())));
  if (request.device().empty() || request.nonce().empty()) {
    return absl::InvalidArgumentError(absl::StrCat("worker ", request.id(), " names no device or no nonce"));
  }
  const Worker* worker = Find(request.id());
  if (worker == nullptr || !worker->live()) return std::nullopt;
  if (worker->registered.nonce() == request.nonce()) return Reply(*worker);
  return absl::AlreadyExistsError(absl::StrCat("worker id ", request.id(), " is taken by a live process, ",
                                               Process(worker->registered), "; give this worker another --id"));
}

absl::StatusOr<v1::RegisterReply> Membership::Register(const v1::RegisterRequest& request, uint64_t incarnation,
                                                       absl::Duration now) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::optional<v1::RegisterReply> repeated, CheckRegister(request));
  if (repeated.has_value()) return *repeated;
  Worker* worker = Find(request.id());
  if (worker == nullptr) {
    worker = &workers_.emplace_back();
    worker->id = request.id();
  }
  worker->registered = request;
  worker->memory_bytes = request.memory_bytes();
  worker->incarnation = incarnation;
  worker->sequence = 0;
  worker->heard = false;
  worker->seen = now;
  worker->reason = "has registered; its first heartbeat is due";
  worker->job.clear();
  worker->state = State::kIdle;
  return Reply(*worker);
}

absl::Status Membership::CheckIncarnation(const std::string& id, uint64_t incarnation) const {
  const Worker* worker = Find(id);
  if (worker != nullptr && worker->live() && worker->incarnation == incarnation) return absl::OkStatus();
  if (worker != nullptr && worker->incarnation > incarnation) {
    return absl::AbortedError(absl::StrCat("worker ", id, " has a newer incarnation, ", worker->incarnation, " (",
                                           Process(worker->registered), "); this one is ", incarnation));
  }
  return absl::NotFoundError(
      absl::StrCat("worker ", id, " with incarnation ", incarnation, " is not registered here: register again"));
}

absl::StatusOr<Membership::HeartbeatNews> Membership::Heartbeat(const v1::HeartbeatRequest& request,
                                                                absl::Duration now) {
  PENSTOCK_RETURN_IF_ERROR(CheckIncarnation(request.id(), request.incarnation()));
  Worker* worker = Find(request.id());
  worker->seen = now;
  worker->resident_bytes = request.resident_bytes();
  HeartbeatNews news;
  news.first = !worker->heard;
  news.fresh = request.sequence() > worker->sequence;
  if (news.first) worker->reason.clear();
  worker->heard = true;
  worker->sequence = std::max(worker->sequence, request.sequence());
  if (!request.leaving()) return news;
  news.left = Lose(worker, {Fault::Kind::kExit, "", "left the cluster: its process was told to end", {}});
  worker->state = State::kLeft;
  // Nobody waits for one that joined by itself.
  if (!worker->expected) workers_.erase(workers_.begin() + (worker - workers_.data()));
  return news;
}

std::vector<WorkerLoss> Membership::Advance(absl::Duration now) {
  const absl::Duration late =
      advanced_.has_value() ? std::max(now - *advanced_ - every_, absl::ZeroDuration()) : absl::ZeroDuration();
  advanced_ = now;
  std::vector<WorkerLoss> losses;
  for (Worker& worker : workers_) {
    if (!worker.live()) continue;
    worker.seen = std::min(worker.seen + late, now);
    if (now - worker.seen < lost_after_) continue;
    losses.push_back(Lose(&worker, {Fault::Kind::kSilent,
                                    "",
                                    absl::StrCat("no heartbeat for ", absl::FormatDuration(now - worker.seen),
                                                 ": its process hangs, or its host is down or cut off"),
                                    {}}));
  }
  return losses;
}

std::optional<WorkerLoss> Membership::ProcessEnded(const std::string& id, const std::string& what,
                                                   std::vector<std::string> last_log) {
  Worker* worker = Find(id);
  if (worker == nullptr) return std::nullopt;
  if (worker->live()) return Lose(worker, {Fault::Kind::kExit, "", what, std::move(last_log)});
  worker->state = State::kLost;
  worker->reason = what;
  if (!last_log.empty()) absl::StrAppend(&worker->reason, ": ", last_log.back());
  return std::nullopt;
}

void Membership::ProcessStarted(const std::string& id) {
  Worker* worker = Find(id);
  if (worker == nullptr || worker->live()) return;
  worker->state = State::kStarting;
  if (worker->reason.empty()) worker->reason = "has not registered yet";
}

WorkerLoss Membership::Lose(Worker* worker, Fault fault) {
  worker->state = State::kLost;
  worker->reason = fault.what;
  return {worker->id, worker->incarnation, std::exchange(worker->job, ""), std::move(fault)};
}

void Membership::Reserve(const std::string& id, const std::string& job) {
  Worker* worker = Find(id);
  CHECK(worker != nullptr && worker->state == State::kIdle) << id;
  worker->state = State::kBusy;
  worker->job = job;
}

void Membership::Release(const std::string& job) {
  for (Worker& worker : workers_) {
    if (worker.state != State::kBusy || worker.job != job) continue;
    worker.state = State::kIdle;
    worker.job.clear();
  }
}

std::vector<WorkerOffer> Membership::Offers() const {
  std::vector<WorkerOffer> offers;
  for (const Worker& worker : workers_) {
    // One that joined by itself and went again may never come back; one of cluster.yaml is expected to.
    if (!worker.live() && !worker.expected) continue;
    offers.push_back({worker.id, worker.state == State::kIdle && worker.heard, !worker.live(),
                      absl::StrCat(worker.registered.self_test(), "\n", worker.registered.fingerprint()), worker.job,
                      worker.memory_bytes});
  }
  return offers;
}

std::vector<uint64_t> Membership::MemoryLimits() const {
  std::vector<uint64_t> limits;
  for (const Worker& worker : workers_) {
    if (worker.live() || worker.expected) limits.push_back(worker.memory_bytes);
  }
  return limits;
}

bool Membership::IsLive(const std::string& id) const {
  const Worker* worker = Find(id);
  return worker != nullptr && worker->live();
}

WorkerHandle Membership::Handle(const std::string& id) const {
  const Worker* worker = Find(id);
  CHECK(worker != nullptr && worker->live()) << id;
  return {id,
          worker->incarnation,
          worker->registered.address(),
          absl::StrCat(id, ", ", Process(worker->registered)),
          worker->registered.fingerprint(),
          worker->memory_bytes};
}

std::vector<WorkerHandle> Membership::Live() const {
  std::vector<WorkerHandle> live;
  for (const Worker& worker : workers_) {
    if (worker.live()) live.push_back(Handle(worker.id));
  }
  return live;
}

absl::Status Membership::Ready() const {
  std::vector<std::string> missing;
  for (const Worker& worker : workers_) {
    if (worker.expected && !(worker.live() && worker.heard))
      missing.push_back(absl::StrCat(worker.id, " (", worker.reason, ")"));
  }
  if (missing.empty()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("workers are missing: ", absl::StrJoin(missing, ", ")));
}

std::vector<v1::WorkerStatus> Membership::Status(absl::Duration now) const {
  std::vector<v1::WorkerStatus> all;
  for (const Worker& worker : workers_) {
    v1::WorkerStatus& status = all.emplace_back();
    const v1::RegisterRequest& registered = worker.registered;
    status.set_id(worker.id);
    status.set_incarnation(worker.incarnation);
    status.set_host(registered.host());
    // The process of a worker that is lost, or being started again, is gone: its number may be another's by now.
    if (worker.live()) {
      status.set_pid(registered.pid());
      status.set_resident_bytes(worker.resident_bytes);
    }
    status.set_device(registered.device());
    status.set_address(registered.address());
    status.set_memory_bytes(worker.memory_bytes);
    status.set_self_test(registered.self_test());
    status.set_fingerprint(registered.fingerprint());
    status.set_version(registered.version());
    status.set_reason(worker.reason);
    status.set_job(worker.job);
    switch (worker.state) {
      case State::kStarting:
        status.set_state("starting");
        break;
      case State::kIdle:
        status.set_state(worker.heard ? "idle" : "starting");
        break;
      case State::kBusy:
        status.set_state("busy");
        break;
      case State::kLost:
        status.set_state("lost");
        break;
      case State::kLeft:
        status.set_state("left");
        break;
    }
    if (worker.live()) status.set_heartbeat_age_seconds(absl::ToDoubleSeconds(now - worker.seen));
  }
  return all;
}

v1::RegisterReply Membership::Reply(const Worker& worker) const {
  v1::RegisterReply reply;
  reply.set_incarnation(worker.incarnation);
  reply.set_heartbeat_every_ms(absl::ToInt64Milliseconds(every_));
  reply.set_lost_after_ms(absl::ToInt64Milliseconds(lost_after_));
  return reply;
}

const Membership::Worker* Membership::Find(const std::string& id) const {
  const auto it = std::find_if(workers_.begin(), workers_.end(), [&id](const Worker& w) { return w.id == id; });
  return it == workers_.end() ? nullptr : &*it;
}

Membership::Worker* Membership::Find(const std::string& id) {
  return const_cast<Worker*>(std::as_const(*this).Find(id));
}

}  // namespace penstock

#include "coordinator/core.h"

#include <unistd.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/file.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/version.h"
#include "model/loss_scale.h"

namespace penstock {
namespace {

// How often the monitor looks at grace times, at least: a fraction of the shortest of them.
constexpr absl::Duration kMonitorEvery = absl::Milliseconds(50);

}  // namespace

Core::CoreLock::CoreLock(Core* core) : core_(core) { core_->mu_.Lock(); }

Core::CoreLock::~CoreLock() {
  std::vector<std::function<void()>> work = std::exchange(core_->work_, {});
  core_->mu_.Unlock();
  for (const std::function<void()>& item : work) item();
}

Core::Core(ClusterSpec cluster, JobStore* store, JobRecords* records, Clock* clock, size_t max_queued, CostStore* costs)
    : cluster_(std::move(cluster)),
      store_(store),
      records_(records),
      clock_(clock),
      max_queued_(max_queued),
      costs_(costs),
      started_(clock->Wall()),
      membership_(cluster_.workers, cluster_.heartbeat_every, cluster_.lost_after),
      disk_(std::make_unique<Executor>()),
      pruner_(std::make_unique<Executor>()) {}

Core::~Core() {
  {
    CoreLock lock(this);
    ending_ = true;
    for (auto& [id, job] : jobs_) {
      for (const auto& call : job->calls) {
        if (call != nullptr) work_.push_back([call] { call->Cancel(); });
      }
      for (VoteDone& done : std::exchange(job->waiting, {})) {
        work_.push_back([done = std::move(done)] { done(absl::CancelledError("the coordinator ends")); });
      }
    }
  }
  if (monitor_.joinable()) monitor_.join();
  {
    absl::MutexLock lock(&mu_);
    const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return calls_under_way_ == 0; };
    mu_.Await(absl::Condition(&idle));
  }
  pruner_.reset();  // first: what it does last goes to the disk's thread
  disk_.reset();
}

absl::Status Core::Start(const std::string& address, const std::string& http_address) {
  PENSTOCK_ASSIGN_OR_RETURN(std::vector<StoredJob> pending, store_->Pending());
  std::vector<std::unique_ptr<ActiveJob>> jobs;
  for (StoredJob& stored : pending) {
    const v1::JobStatus status = stored.status;
    const uint64_t epoch = stored.epoch;
    absl::StatusOr<std::unique_ptr<ActiveJob>> job = MakeActive(std::move(stored));
    if (job.ok()) {
      jobs.push_back(*std::move(job));
      continue;
    }
    // One job that cannot run must not keep all others, and the cluster itself, from running.
    LOG(ERROR) << "job " << status.job() << ", which waited, cannot run: " << job.status();
    const absl::Status marked = StoreFailure(status, epoch, job.status());
    if (!marked.ok()) LOG(ERROR) << "job " << status.job() << " could not be stored: " << marked;
  }
  {
    CoreLock lock(this);
    address_ = address;
    http_address_ = http_address;
    for (std::unique_ptr<ActiveJob>& job : jobs) {
      queue_.push_back(job->stored.id);
      jobs_[job->stored.id] = std::move(job);
    }
    Schedule();
  }
  monitor_ = std::thread([this] { Monitor(); });
  return absl::OkStatus();
}

void Core::Monitor() {
  const absl::Duration every = std::min(kMonitorEvery, cluster_.heartbeat_every / 2);
  while (true) {
    CoreLock lock(this);
    const absl::Duration wake = clock_->Monotonic() + every;
    const auto ending = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return ending_; };
    if (clock_->AwaitUntil(&mu_, absl::Condition(&ending), wake)) return;
    MonitorOnce();
  }
}

void Core::MonitorOnce() {
  const absl::Duration now = clock_->Monotonic();
  const std::vector<WorkerLoss> losses = membership_.Advance(now);
  for (const WorkerLoss& loss : losses) OnLoss(loss);
  if (!losses.empty()) Schedule();
  std::vector<ActiveJob*> jobs;
  for (auto& [id, job] : jobs_) jobs.push_back(job.get());
  for (ActiveJob* job : jobs) Feed(job, Tick());
  if (launcher_ == nullptr || draining_) return;
  for (const std::string& id : relaunch_.TakeDue(now)) {
    for (const WorkerSpec& spec : cluster_.workers) {
      if (spec.id != id) continue;
      relaunch_.Started(id, now);
      membership_.ProcessStarted(id);
      const WorkerLaunch launch{spec.id, spec.host, spec.device, spec.memory_bytes, address_};
      LOG(INFO) << "starts worker " << launch.id << " again";
      StartLater(launch);
    }
  }
}

void Core::Launch(Launcher* launcher) {
  CoreLock lock(this);
  launcher_ = launcher;
  for (const WorkerSpec& spec : cluster_.workers) {
    relaunch_.Started(spec.id, clock_->Monotonic());
    StartLater({spec.id, spec.host, spec.device, spec.memory_bytes, address_});
  }
}

void Core::StartLater(const WorkerLaunch& launch) {
  work_.push_back([this, launcher = launcher_, launch] {
    const absl::Status status = launcher->Start(launch);
    if (!status.ok()) OnWorkerExit({launch.id, false, absl::StrCat("could not be started: ", status.message()), {}});
  });
}

void Core::OnWorkerExit(const WorkerExit& exit) {
  CoreLock lock(this);
  const absl::Duration now = clock_->Monotonic();
  std::string what = exit.cause;
  if (!exit.expected && !draining_) {
    LOG(WARNING) << "worker " << exit.id << " " << exit.cause;
    if (!relaunch_.Ended(exit.id, now)) absl::StrAppend(&what, "; it ended early too often and is not started again");
  }
  const std::optional<WorkerLoss> loss = membership_.ProcessEnded(exit.id, what, exit.last_log);
  if (loss.has_value()) OnLoss(*loss);
  Schedule();
}

void Core::OnLoss(const WorkerLoss& loss) {
  if (!draining_) LOG(WARNING) << "worker " << loss.id << " is gone: " << loss.fault.what;
  const auto lease = leases_.find(loss.job);
  if (lease != leases_.end()) {
    const absl::Status status = absl::UnavailableError(absl::StrCat("worker ", loss.id, ": ", loss.fault.what));
    work_.push_back([weak = lease->second, status] {
      if (const std::shared_ptr<WorkerLease> held = weak.lock()) held->Lose(status);
    });
  }
  ActiveJob* job = Find(loss.job);
  if (job == nullptr || job->assignment == nullptr) return;
  const std::vector<WorkerHandle>& workers = job->assignment->workers;
  for (size_t r = 0; r < workers.size(); ++r) {
    if (workers[r].id != loss.id || workers[r].incarnation != loss.incarnation) continue;
    Feed(job, RankLost{job->machine.epoch(), static_cast<int>(r), loss.fault});
  }
}

absl::StatusOr<v1::RegisterReply> Core::Register(const v1::RegisterRequest& request) {
  {
    absl::MutexLock lock(&mu_);
    PENSTOCK_ASSIGN_OR_RETURN(const std::optional<v1::RegisterReply> repeated, membership_.CheckRegister(request));
    if (repeated.has_value()) return *repeated;
  }
  PENSTOCK_ASSIGN_OR_RETURN(const uint64_t incarnation, store_->NextIncarnation(request.id()));
  auto client = std::make_shared<WorkerClient>(request.address());
  CoreLock lock(this);
  PENSTOCK_ASSIGN_OR_RETURN(v1::RegisterReply reply, membership_.Register(request, incarnation, clock_->Monotonic()));
  clients_[request.id()] = std::move(client);
  LOG(INFO) << "worker " << request.id() << " registered: " << request.device() << " at " << request.address()
            << ", pid " << request.pid() << ", incarnation " << incarnation;
  return reply;
}

absl::Status Core::Heartbeat(const v1::HeartbeatRequest& request) {
  CoreLock lock(this);
  PENSTOCK_ASSIGN_OR_RETURN(const Membership::HeartbeatNews news, membership_.Heartbeat(request, clock_->Monotonic()));
  if (news.left.has_value()) OnLoss(*news.left);
  if (news.first || news.left.has_value()) Schedule();
  if (!news.fresh) return absl::OkStatus();
  ActiveJob* job = Find(request.counters().job());
  if (job != nullptr && job->assignment != nullptr) {
    for (size_t r = 0; r < job->assignment->workers.size(); ++r) {
      if (job->assignment->workers[r].id == request.id()) {
        job->progress.OnCounters(static_cast<int>(r), request.counters());
      }
    }
  }
  std::map<std::string, std::vector<v1::LogLine>> lines;
  for (const v1::LogLine& line : request.log()) lines[line.job()].push_back(line);
  for (auto& [id, batch] : lines) {
    if (!IsPlainName(id)) continue;  // of no job, or of a lease: the worker's own file has them
    const bool taken = disk_->TryPost([records = records_, id = id, batch = std::move(batch)] {
      const absl::Status status = records->AppendLog(id, batch);
      if (!status.ok()) {
        LOG_EVERY_N(ERROR, 100) << "log of job " << id << ": " << status;
      }
    });
    if (!taken) {
      LOG_EVERY_N(ERROR, 100) << "log lines of job " << id << " were dropped: the disk is too slow";
    }
  }
  return absl::OkStatus();
}

void Core::CommitStep(const v1::StepVote& vote, VoteDone done) {
  CoreLock lock(this);
  const absl::Status status = AddVote(vote, &done);
  if (!status.ok()) work_.push_back([done = std::move(done), status] { done(status); });
}

absl::Status Core::AddVote(const v1::StepVote& vote, VoteDone* done) {
  ActiveJob* job = Find(vote.job());
  if (job == nullptr || job->assignment == nullptr || job->machine.epoch() != vote.plan_epoch()) {
    return absl::FailedPreconditionError(
        absl::StrCat("job ", vote.job(), " does not run with plan epoch ", vote.plan_epoch()));
  }
  const std::vector<WorkerHandle>& workers = job->assignment->workers;
  if (vote.rank() >= workers.size() || workers[vote.rank()].id != vote.worker() ||
      workers[vote.rank()].incarnation != vote.incarnation()) {
    return absl::AbortedError(absl::StrCat("worker ", vote.worker(), " with incarnation ", vote.incarnation(),
                                           " does not run rank ", vote.rank(), " of job ", vote.job()));
  }
  if (ending_) return absl::CancelledError("the coordinator ends");
  if (job->votes_dropped.has_value()) return absl::CancelledError(*job->votes_dropped);
  if (const auto decision = job->barrier.Repeated(vote); decision.has_value()) {
    work_.push_back([done = std::move(*done), decision = *decision] { done(decision); });
    return absl::OkStatus();
  }
  PENSTOCK_ASSIGN_OR_RETURN(job->outcome, job->barrier.Add(vote, job->machine.step() + 1, ScaleOf(job->loss_scale)));
  job->progress.OnVote(vote);
  job->waiting.push_back(std::move(*done));
  if (job->outcome.has_value()) {
    const StepOutcome outcome = *job->outcome;
    Feed(job, Voted{job->machine.epoch(), outcome.step, outcome.fault});
  }
  return absl::OkStatus();
}

void Core::Feed(ActiveJob* job, const JobEvent& event) {
  if (ending_) return;
  for (const JobCommand& command : job->machine.Handle(event, clock_->Monotonic())) {
    std::visit([this, job](const auto& c) ABSL_NO_THREAD_SAFETY_ANALYSIS { Do(job, c); }, command);
  }
  Refresh(job);
}

// What people see follows the machine; a job that has ended shows so only once its summary is written (Do(Ended)).
void Core::Refresh(ActiveJob* job) {
  if (job->machine.ended()) return;
  v1::JobStatus& status = job->status;
  const bool changed = job->saved_state != job->machine.state() || job->saved_reason != job->machine.reason();
  if (!changed && status.step() == job->machine.step()) return;
  status.set_state(job->machine.state());
  status.set_reason(job->machine.reason());
  status.set_step(job->machine.step());
  ++job->version;
  if (!changed) return;
  job->saved_state = job->machine.state();
  job->saved_reason = job->machine.reason();
  job->progress.Fill(status.step(), &status);
  disk_->Post([store = store_, status = status, epoch = job->machine.epoch()] {
    const absl::Status stored = store->Update(status, epoch);
    if (!stored.ok()) LOG(ERROR) << "job " << status.job() << " could not be stored: " << stored;
  });
}

ActiveJob* Core::Find(const std::string& job) {
  const auto it = jobs_.find(job);
  return it == jobs_.end() ? nullptr : it->second.get();
}

v1::ClusterStatus Core::Status() {
  v1::ClusterStatus status;
  status.set_name(cluster_.name);
  status.set_version(kVersion);
  status.set_started_unix_ms(absl::ToUnixMillis(started_));
  status.set_pid(getpid());
  status.set_state_dir(cluster_.state_dir);
  {
    absl::MutexLock lock(&mu_);
    status.set_address(address_);
    status.set_http_address(http_address_);
    for (const v1::WorkerStatus& worker : membership_.Status(clock_->Monotonic())) *status.add_workers() = worker;
  }
  // The newest are enough for a page; List has them all.
  constexpr int kShown = 50;
  const absl::StatusOr<std::vector<v1::JobStatus>> jobs = List(kShown);
  if (!jobs.ok()) {
    LOG(ERROR) << jobs.status();
    return status;
  }
  for (const v1::JobStatus& job : *jobs) *status.add_jobs() = job;
  std::stable_sort(status.mutable_jobs()->begin(), status.mutable_jobs()->end(),
                   [](const auto& a, const auto& b) { return !IsTerminal(a.state()) && IsTerminal(b.state()); });
  return status;
}

absl::Status Core::Ready() {
  absl::MutexLock lock(&mu_);
  if (draining_) return absl::UnavailableError("the coordinator is ending");
  return membership_.Ready();
}

}  // namespace penstock

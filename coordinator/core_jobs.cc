// The core's jobs: in, through the queue, out.
#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "common/file.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "coordinator/core.h"
#include "coordinator/plan/planner.h"
#include "coordinator/plan/rank_memory.h"
#include "coordinator/submission.h"
#include "model/model_info.h"

namespace penstock {

absl::StatusOr<std::unique_ptr<ActiveJob>> Core::MakeActive(StoredJob stored) {
  PENSTOCK_ASSIGN_OR_RETURN(const ModelInfo model, InferModel(stored.spec.model()));
  std::vector<std::string> parameters;
  for (const LayerInfo& layer : model.layers) {
    for (const ParameterSpec& parameter : layer.parameters) parameters.push_back(parameter.name);
  }
  PENSTOCK_RETURN_IF_ERROR(records_->Create(stored.id, stored.yaml));
  stored.status.set_run_dir(records_->RunDir(stored.id));
  const std::string dir = CheckpointDirOf(cluster_.state_dir, stored.id, stored.spec);
  std::unique_ptr<const Tokenizer> tokenizer;
  std::vector<int64_t> sample_prompt;
  if (stored.spec.eval().has_sample()) {
    PENSTOCK_ASSIGN_OR_RETURN(tokenizer, Tokenizer::OfJob(stored.spec.data()));
    PENSTOCK_ASSIGN_OR_RETURN(sample_prompt, EncodePrompt(*tokenizer, stored.spec.eval().sample().prompt()));
  }
  JobCourse course = CourseOf(stored.spec, stored.plan, std::move(sample_prompt));
  course.lost_after = cluster_.lost_after;
  if (!stored.resume_from.empty()) {
    course.resumed_step = stored.status.resumed_step();
    course.resumes_own_checkpoint = ParentPath(stored.resume_from) == dir;
  }
  auto job = std::make_unique<ActiveJob>(std::move(stored), dir, parameters, std::move(course));
  job->tokenizer = std::move(tokenizer);
  // A checkpoint that cannot be read is the workers' to refuse, with what is wrong with it.
  if (job->stored.resume_from.empty()) return job;
  if (const absl::StatusOr<Manifest> manifest = ReadManifest(job->stored.resume_from); manifest.ok()) {
    job->resumed = {manifest->spec.data(), manifest->data};
  }
  return job;
}

absl::StatusOr<v1::GetPlanReply> Core::GetPlan(const v1::JobSpec& spec) {
  std::vector<uint64_t> limits;
  {
    absl::MutexLock lock(&mu_);
    limits = membership_.MemoryLimits();
  }
  v1::GetPlanReply reply;
  const std::optional<v1::MeasuredCosts> costs = KnownCosts(spec);
  PENSTOCK_ASSIGN_OR_RETURN(*reply.mutable_plan(), CheckAndPlan(spec, limits, costs));
  if (static_cast<size_t>(reply.plan().train_size()) > limits.size()) {
    return absl::FailedPreconditionError(absl::StrCat("the plan has ", reply.plan().train_size(),
                                                      " ranks, the cluster ", limits.size(),
                                                      " workers: add workers, or ", "lower pipeline.stages"));
  }
  const PlanRequest request{spec, costs.has_value() ? &*costs : nullptr, limits};
  for (const std::string& note : Advice(request, reply.plan())) reply.add_notes(note);
  return reply;
}

absl::Status Core::StoreFailure(v1::JobStatus status, uint64_t epoch, const absl::Status& why) {
  status.set_state(v1::FAILED);
  status.set_reason(std::string(why.message()));
  status.add_failure(status.reason());
  status.set_ended_unix_ms(absl::ToUnixMillis(clock_->Wall()));
  return store_->Update(status, epoch);
}

absl::Status Core::Admit(const v1::JobSpec& spec) {
  absl::MutexLock lock(&mu_);
  if (draining_) return absl::UnavailableError("the coordinator is ending and takes no more jobs");
  if (queue_.size() >= max_queued_) {
    return absl::ResourceExhaustedError(absl::StrCat(queue_.size(), " jobs wait already, the most that may; try again ",
                                                     "when some have started, or stop some"));
  }
  // A folder of its own, under an id that is not given yet, is nobody else's.
  if (spec.checkpoint().dir().empty()) return absl::OkStatus();
  const ActiveJob* writer = WriterOf(spec.checkpoint().dir());
  if (writer == nullptr) return absl::OkStatus();
  return absl::AlreadyExistsError(
      absl::StrCat("job ", writer->stored.id, ", which has not ended, writes its checkpoints to ",
                   spec.checkpoint().dir(), ": wait until it has ended or stop it, then submit with --resume to go on ",
                   "from there; or give checkpoint.dir another folder"));
}

const ActiveJob* Core::WriterOf(const std::string& dir) const {
  // "a/b", "a/b/" and "a/./b" are one folder.
  const auto normal = [](const std::string& path) { return (std::filesystem::path(path) / "").lexically_normal(); };
  for (const auto& [id, job] : jobs_) {
    if (normal(job->checkpoint_dir) == normal(dir)) return job.get();
  }
  return nullptr;
}

absl::Status Core::CheckResumePointStays(const std::string& checkpoint) {
  {
    absl::MutexLock lock(&mu_);
    if (const ActiveJob* writer = WriterOf(ParentPath(checkpoint))) {
      return absl::AlreadyExistsError(absl::StrCat("job ", writer->stored.id, ", which has not ended, may remove ",
                                                   checkpoint,
                                                   " before this one starts: wait until it has ended or stop it, then "
                                                   "submit with --resume to go on from there"));
    }
  }
  if (FileExists(JoinPath(checkpoint, kManifestName))) return absl::OkStatus();
  return absl::AbortedError(
      absl::StrCat(checkpoint, " was removed while it was read: submit again, to go on from a newer one"));
}

absl::StatusOr<std::string> Core::Submit(const v1::SubmitRequest& request) {
  const NewJob probe{request.request_id(), request.spec(), {}, "", request.resume(), ""};
  // The request is looked up after it was admitted or not: its own job may have come in between, and is its answer.
  absl::Status admitted = Admit(request.spec());
  PENSTOCK_ASSIGN_OR_RETURN(std::optional<std::string> known, store_->FindRequest(probe));
  if (known.has_value()) return *known;
  PENSTOCK_RETURN_IF_ERROR(admitted);
  std::vector<uint64_t> limits;
  {
    absl::MutexLock lock(&mu_);
    limits = membership_.MemoryLimits();
  }
  PENSTOCK_ASSIGN_OR_RETURN(const NewJob job,
                            PrepareSubmission(request, cluster_.state_dir, limits, KnownCosts(request.spec()), store_));
  PENSTOCK_RETURN_IF_ERROR(CheckWorkersExist(job.plan, cluster_));
  // Much may have happened while the checkpoint was read.
  absl::MutexLock one_at_a_time(&submit_mu_);
  admitted = Admit(request.spec());
  PENSTOCK_ASSIGN_OR_RETURN(known, store_->FindRequest(probe));
  if (known.has_value()) return *known;
  PENSTOCK_RETURN_IF_ERROR(admitted);
  if (job.resume) PENSTOCK_RETURN_IF_ERROR(CheckResumePointStays(job.resume_from));
  // Only now that no other job writes there: what the last one left is complete.
  if (!job.resume && !job.spec.checkpoint().dir().empty()) {
    PENSTOCK_RETURN_IF_ERROR(CheckFolderIsFree(job.spec.checkpoint().dir()));
  }
  // The folder that a job gets without naming one is known by its id only; what it stands in is as good a test.
  PENSTOCK_RETURN_IF_ERROR(CheckFolderTakesFiles(
      job.spec.checkpoint().dir().empty() ? CheckpointRoot(cluster_.state_dir) : job.spec.checkpoint().dir()));
  PENSTOCK_ASSIGN_OR_RETURN(const std::string id, store_->Insert(job, clock_->Wall()));
  PENSTOCK_ASSIGN_OR_RETURN(StoredJob stored, store_->Get(id));
  v1::JobStatus status = stored.status;  // of use once `stored` is gone
  absl::StatusOr<std::unique_ptr<ActiveJob>> active = MakeActive(std::move(stored));
  if (!active.ok()) {
    PENSTOCK_RETURN_IF_ERROR(StoreFailure(std::move(status), 0, active.status()));
    return active.status();
  }
  CoreLock lock(this);
  // A drain that began meanwhile waits for the jobs that it found, and would for ever for one that comes after it. Like
  // the others that wait, this one stays in the store: the next coordinator takes it up.
  if (draining_ || ending_) return id;
  jobs_[id] = *std::move(active);
  queue_.push_back(id);
  LOG(INFO) << "job " << id << " submitted" << (job.resume ? ", goes on from " : "") << job.resume_from;
  Schedule();
  return id;
}

void Core::Schedule() {
  if (draining_ || ending_ || queue_.empty()) return;
  const std::string lost = LostWorkers();
  std::vector<WaitingJob> waiting;
  for (const std::string& id : queue_) {
    const v1::Plan& plan = Find(id)->stored.plan;
    waiting.push_back({id, plan.train_size(), RankPeakBytes(plan)});
  }
  for (const JobPlacement& placement : PlaceJobs(waiting, membership_.Offers())) {
    ActiveJob* job = Find(placement.job);
    if (placement.workers.empty()) {
      Feed(job, Waits{absl::StrCat(placement.reason, lost)});
      continue;
    }
    queue_.erase(std::find(queue_.begin(), queue_.end(), placement.job));
    Place(job, placement.workers);
  }
}

// Why workers are missing, so that a job that waits for them says so.
std::string Core::LostWorkers() const {
  std::string text;
  for (const v1::WorkerStatus& worker : membership_.Status(clock_->Monotonic())) {
    if (worker.state() == "lost") absl::StrAppend(&text, "; worker ", worker.id(), " is lost: ", worker.reason());
  }
  return text;
}

void Core::Place(ActiveJob* job, const std::vector<std::string>& workers) {
  auto assignment = std::make_shared<Assignment>();
  assignment->job = job->stored.id;
  assignment->epoch = job->stored.epoch + 1;
  assignment->spec = job->stored.spec;
  assignment->plan = job->stored.plan;
  assignment->resume_from = job->stored.resume_from;
  assignment->checkpoint_dir = job->checkpoint_dir;
  std::vector<std::string> labels;
  for (const std::string& id : workers) {
    membership_.Reserve(id, job->stored.id);
    const WorkerHandle& handle = assignment->workers.emplace_back(membership_.Handle(id));
    assignment->clients.push_back(clients_[id]);
    assignment->fingerprint = handle.fingerprint;
    job->progress.SetWorker(static_cast<int>(labels.size()), id);
    labels.push_back(handle.label);
  }
  job->assignment = assignment;
  // What an interrupted run left behind goes before anything is written.
  disk_->Post([dir = job->checkpoint_dir] {
    const absl::StatusOr<std::vector<std::string>> removed = CleanTemporary(dir);
    if (!removed.ok()) LOG(WARNING) << removed.status();
  });
  Feed(job, Placed{assignment->epoch, labels});
}

absl::StatusOr<v1::JobState> Core::Stop(const std::string& text, bool no_checkpoint) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::string id, store_->Resolve(text));
  CoreLock lock(this);
  ActiveJob* job = Find(id);
  if (job == nullptr || job->machine.ended()) {
    return absl::FailedPreconditionError(absl::StrCat("job ", id, " has ended already"));
  }
  queue_.erase(std::remove(queue_.begin(), queue_.end(), id), queue_.end());
  Feed(job, StopAsked{no_checkpoint, "stopped"});
  return job->machine.state();
}

absl::StatusOr<v1::GetReply> Core::Get(const std::string& text) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::string id, store_->Resolve(text));
  v1::GetReply reply;
  uint64_t version = 0;
  PENSTOCK_ASSIGN_OR_RETURN(*reply.mutable_status(), AwaitChange(id, absl::ZeroDuration(), &version));
  PENSTOCK_ASSIGN_OR_RETURN(StoredJob stored, store_->Get(id));
  const std::string dir = CheckpointDirOf(cluster_.state_dir, id, stored.spec);
  *reply.mutable_spec() = std::move(stored.spec);
  *reply.mutable_plan() = std::move(stored.plan);
  const absl::StatusOr<std::vector<CheckpointEntry>> entries = ListCheckpoints(dir);
  if (!entries.ok()) {
    LOG(WARNING) << entries.status();
    return reply;
  }
  for (const CheckpointEntry& entry : *entries) {
    if (entry.status.ok()) *reply.add_checkpoints() = entry.info;
  }
  return reply;
}

absl::StatusOr<std::vector<v1::JobStatus>> Core::List(int limit) {
  PENSTOCK_ASSIGN_OR_RETURN(std::vector<v1::JobStatus> list, store_->List(limit));
  absl::MutexLock lock(&mu_);
  for (v1::JobStatus& status : list) {
    ActiveJob* job = Find(status.job());
    if (job == nullptr) {
      const auto ended = unstored_ends_.find(status.job());
      if (ended != unstored_ends_.end()) status = ended->second;
      continue;
    }
    status = job->status;
    job->progress.Fill(status.step(), &status);
  }
  return list;
}

absl::StatusOr<v1::JobStatus> Core::AwaitChange(const std::string& id, absl::Duration timeout, uint64_t* version) {
  {
    absl::MutexLock lock(&mu_);
    const auto changed = [this, &id, version]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      const ActiveJob* job = Find(id);
      return job == nullptr || job->version != *version;
    };
    clock_->AwaitUntil(&mu_, absl::Condition(&changed), clock_->Monotonic() + timeout);
    if (const ActiveJob* job = Find(id)) {
      *version = job->version;
      v1::JobStatus status = job->status;
      job->progress.Fill(status.step(), &status);
      return status;
    }
    if (const auto ended = unstored_ends_.find(id); ended != unstored_ends_.end()) return ended->second;
  }
  PENSTOCK_ASSIGN_OR_RETURN(StoredJob stored, store_->Get(id));
  return std::move(stored.status);
}

bool Core::MayChange(const std::string& job) {
  absl::MutexLock lock(&mu_);
  // One that is not active and not ended is on its way into the queue, unless no job comes into it any more.
  return Find(job) != nullptr || !draining_;
}

absl::StatusOr<std::shared_ptr<WorkerLease>> Core::Lease(int most, const std::string& purpose,
                                                         const std::string& fingerprint) {
  CoreLock lock(this);
  std::vector<WorkerOffer> offers;
  for (WorkerOffer& offer : membership_.Offers()) {
    if (!fingerprint.empty() && (!offer.idle || membership_.Handle(offer.id).fingerprint != fingerprint)) continue;
    offers.push_back(std::move(offer));
  }
  std::vector<std::string> ids;
  for (int count = most; count > 0 && ids.empty() && !draining_; --count) {
    ids = PlaceJobs({{"lease", count}}, offers).front().workers;
  }
  if (ids.empty()) {
    return absl::FailedPreconditionError("no worker is idle: wait until a job has ended, or stop one");
  }
  // No job's id: those take no slash.
  const std::string name = absl::StrCat(purpose, "/", next_lease_++);
  std::vector<WorkerHandle> workers;
  std::vector<std::shared_ptr<WorkerClient>> clients;
  for (const std::string& id : ids) {
    membership_.Reserve(id, name);
    workers.push_back(membership_.Handle(id));
    clients.push_back(clients_[id]);
  }
  auto lease = std::make_shared<WorkerLease>(name, std::move(workers), std::move(clients), [this, name] {
    CoreLock release(this);
    leases_.erase(name);
    membership_.Release(name);
    Schedule();
  });
  leases_[name] = lease;
  return lease;
}

uint64_t Core::NewLeaseEpoch() { return static_cast<uint64_t>(absl::ToUnixMicros(clock_->Wall())); }

void Core::Drain(bool no_checkpoint) {
  Launcher* launcher = nullptr;
  {
    CoreLock lock(this);
    draining_ = true;
    queue_.clear();
    for (auto it = jobs_.begin(); it != jobs_.end();) {
      // Those that wait stay in the store: the next coordinator takes them up.
      if (it->second->machine.state() == v1::PENDING) {
        it = jobs_.erase(it);
        continue;
      }
      Feed((it++)->second.get(), StopAsked{no_checkpoint, "stopped with the cluster"});
    }
    launcher = launcher_;
  }
  {
    absl::MutexLock lock(&mu_);
    const auto empty = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return jobs_.empty(); };
    mu_.Await(absl::Condition(&empty));
  }
  disk_->Flush();
  // A worker that is idle ends within milliseconds of SIGTERM; one that does not is stuck.
  if (launcher != nullptr) launcher->StopAll(absl::Seconds(5));
  absl::MutexLock lock(&mu_);
  drained_ = true;
}

bool Core::drained() {
  absl::MutexLock lock(&mu_);
  return drained_;
}

}  // namespace penstock

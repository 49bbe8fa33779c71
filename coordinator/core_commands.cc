// What the core does for each command of the job machine.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "common/file.h"
#include "common/logging.h"
#include "coordinator/core.h"
#include "coordinator/text.h"
#include "model/loss_scale.h"

namespace penstock {

std::shared_ptr<WorkerCall> Core::NewCall(ActiveJob* job, int rank) {
  ++calls_under_way_;
  job->calls[rank] = std::make_shared<WorkerCall>();
  return job->calls[rank];
}

// On the disk's thread, since the job's folders are made and cleaned there first.
void Core::Do(ActiveJob* job, const LoadRank& command) {
  disk_->Post([this, assignment = job->assignment, rank = command.rank, call = NewCall(job, command.rank)] {
    v1::LoadRequest request;
    request.set_job(assignment->job);
    request.set_plan_epoch(assignment->epoch);
    request.set_incarnation(assignment->workers[rank].incarnation);
    request.set_rank(rank);
    *request.mutable_spec() = assignment->spec;
    *request.mutable_plan() = assignment->plan;
    // A rank walks its own lists; those of the others may be far longer than a message.
    for (int r = 0; r < request.plan().train_size(); ++r) {
      if (r == rank) continue;
      request.mutable_plan()->mutable_train(r)->clear_actions();
      request.mutable_plan()->mutable_forward(r)->clear_actions();
    }
    request.set_resume_from(assignment->resume_from);
    for (size_t r = 0; r < assignment->workers.size(); ++r) {
      v1::Neighbour* neighbour = request.add_ranks();
      neighbour->set_rank(static_cast<uint32_t>(r));
      neighbour->set_worker(assignment->workers[r].id);
      neighbour->set_incarnation(assignment->workers[r].incarnation);
      neighbour->set_address(assignment->workers[r].address);
    }
    assignment->clients[rank]->Load(call, std::move(request),
                                    [this, id = assignment->job, epoch = assignment->epoch, rank](
                                        const absl::Status& status, const v1::LoadReply& reply) {
                                      CoreLock lock(this);
                                      --calls_under_way_;
                                      ActiveJob* loaded = Find(id);
                                      if (loaded == nullptr) return;
                                      loaded->progress.OnLoaded(rank, reply);
                                      Loaded event{epoch, rank, status, reply.step()};
                                      if (status.ok() && reply.has_loss_scale()) {
                                        loaded->loss_scale = reply.loss_scale();
                                        loaded->progress.SetLossScale(loaded->loss_scale);
                                      }
                                      if (status.ok() && reply.has_data()) {
                                        loaded->data = reply.data();
                                        event.status = loaded->CheckData(reply.data());
                                      }
                                      if (reply.has_eval_batches()) event.eval_batches = reply.eval_batches();
                                      Feed(loaded, event);
                                    });
  });
}

void Core::Do(ActiveJob* job, const RunRank& command) {
  v1::RunRequest request;
  request.set_job(job->stored.id);
  request.set_plan_epoch(job->machine.epoch());
  request.set_incarnation(job->assignment->workers[command.rank].incarnation);
  request.set_mode(command.mode);
  request.set_first_pass(command.first_pass);
  request.set_from_step(command.from);
  request.set_to_step(command.to);
  request.set_hash(command.hash);
  request.set_loss_scale(job->loss_scale.scale());
  if (command.mode == v1::PASS_GENERATE) {
    request.mutable_tokens()->Assign(command.tokens.begin(), command.tokens.end());
    request.set_temperature(job->stored.spec.eval().sample().temperature());
    request.set_top_k(job->stored.spec.eval().sample().top_k());
    request.set_seed(command.seed);
  }
  job->hashes.clear();
  job->hashed_ranks = 0;
  work_.push_back([this, assignment = job->assignment, rank = command.rank, call = NewCall(job, command.rank),
                   request = std::move(request)] {
    assignment->clients[rank]->Run(call, request,
                                   [this, id = assignment->job, epoch = assignment->epoch, rank](
                                       const absl::Status& status, const v1::RunReply& reply) {
                                     OnRun(id, {epoch, rank, status, 0, {}, {}}, reply);
                                   });
  });
}

void Core::OnRun(const std::string& id, RunEnded event, const v1::RunReply& reply) {
  CoreLock lock(this);
  --calls_under_way_;
  ActiveJob* job = Find(id);
  if (job == nullptr) return;
  const bool last_rank =
      event.rank == static_cast<int>(job->stored.plan.stages(job->stored.plan.stages_size() - 1).rank());
  event.completed_step = reply.completed_step();
  if (reply.has_eval()) event.eval = reply.eval();
  if (last_rank && event.status.ok()) event.next_token = reply.next_token();
  job->hashes.insert(job->hashes.end(), reply.hashes().begin(), reply.hashes().end());
  if (event.status.ok()) ++job->hashed_ranks;  // the state of one that failed is not known
  // The step's line waits for the hash of all ranks.
  if (job->unwritten_metrics.has_value() && job->hashed_ranks == job->stored.plan.train_size()) {
    StepMetrics metrics = *std::exchange(job->unwritten_metrics, std::nullopt);
    metrics.sha256 = HashOfTensors(std::exchange(job->hashes, {}));
    WriteMetrics(id, std::move(metrics));
  }
  Feed(job, event);
}

void Core::Do(ActiveJob* job, const CancelRank& command) {
  if (job->calls[command.rank] == nullptr) return;
  work_.push_back([call = job->calls[command.rank]] { call->Cancel(); });
}

void Core::Do(ActiveJob* job, const SaveRank& command) {
  v1::SaveRequest request;
  request.set_job(job->stored.id);
  request.set_plan_epoch(job->machine.epoch());
  request.set_incarnation(job->assignment->workers[command.rank].incarnation);
  request.set_step(command.step);
  request.set_directory(TemporaryCheckpointPath(job->checkpoint_dir, command.step, job->machine.epoch()));
  work_.push_back([this, assignment = job->assignment, rank = command.rank, call = NewCall(job, command.rank),
                   request = std::move(request)] {
    assignment->clients[rank]->Save(call, request,
                                    [this, id = assignment->job, epoch = assignment->epoch, rank](
                                        const absl::Status& status, const v1::SaveReply& reply) {
                                      OnSave(id, {epoch, rank, status}, reply);
                                    });
  });
}

void Core::OnSave(const std::string& id, Saved event, const v1::SaveReply& reply) {
  CoreLock lock(this);
  --calls_under_way_;
  ActiveJob* job = Find(id);
  if (job == nullptr) return;
  job->saves[event.rank] = reply;
  Feed(job, event);
}

void Core::Do(ActiveJob* job, const UnloadRank& command) {
  v1::UnloadRequest request;
  request.set_job(job->stored.id);
  request.set_incarnation(job->assignment->workers[command.rank].incarnation);
  work_.push_back([this, assignment = job->assignment, rank = command.rank, call = NewCall(job, command.rank),
                   request = std::move(request)] {
    const auto done = [this, id = assignment->job, epoch = assignment->epoch, rank](const absl::Status& status,
                                                                                    const v1::UnloadReply&) {
      // The next Load, with a larger epoch, replaces what may be left.
      if (!status.ok()) LOG(WARNING) << "unload of " << id << ", rank " << rank << ": " << status;
      CoreLock lock(this);
      --calls_under_way_;
      if (ActiveJob* unloaded = Find(id)) Feed(unloaded, Unloaded{epoch, rank});
    };
    assignment->clients[rank]->Unload(call, request, done);
  });
}

// What a step's gradients say of the loss's scale: the step is skipped, or is the next update.
void Core::DecideScale(uint64_t step, ActiveJob* job, v1::StepDecision* decision) {
  if (job->loss_scale.scale() == 0) return;
  const std::string& overflow = job->outcome->overflow;
  decision->set_update(step - job->loss_scale.skipped());
  decision->set_skip(!overflow.empty());
  job->loss_scale = NextLossScale(job->stored.spec.train().loss_scale(), job->loss_scale, decision->skip());
  decision->set_next_loss_scale(job->loss_scale.scale());
  job->progress.SetLossScale(job->loss_scale);
  if (!decision->skip()) return;
  LOG(INFO) << "job " << job->stored.id << ", step " << step << ": skipped, " << overflow << "; the loss scale is "
            << job->loss_scale.scale() << " now";
}

void Core::Do(ActiveJob* job, const Decide& command) {
  v1::StepDecision decision;
  decision.set_commit(command.commit);
  decision.set_grad_norm(job->outcome->grad_norm);
  decision.set_clip_scale(job->outcome->clip_scale);
  decision.set_last(command.last);
  if (command.commit) DecideScale(command.step, job, &decision);
  job->barrier.Decided(command.step, decision);
  for (VoteDone& done : std::exchange(job->waiting, {})) {
    work_.push_back([done = std::move(done), decision] { done(decision); });
  }
  if (command.commit) RecordStep(job, *job->outcome);
  job->outcome.reset();
}

void Core::RecordStep(ActiveJob* job, const StepOutcome& outcome) {
  StepMetrics metrics = job->progress.OnStep(outcome);
  if (!job->progress.LogsStep(outcome.step)) return;
  if (job->stored.spec.log().hash()) {
    job->unwritten_metrics = std::move(metrics);
  } else {
    WriteMetrics(job->stored.id, std::move(metrics));
  }
}

void Core::WriteMetrics(const std::string& job, StepMetrics metrics) {
  disk_->Post([records = records_, job, metrics = std::move(metrics)] {
    const absl::Status status = records->AppendMetrics(job, metrics);
    if (!status.ok()) {
      LOG_EVERY_N(ERROR, 100) << "metrics of job " << job << ": " << status;
    }
  });
}

void Core::Do(ActiveJob* job, const DropVotes& command) {
  job->votes_dropped = command.reason;
  for (VoteDone& done : std::exchange(job->waiting, {})) {
    work_.push_back([done = std::move(done), reason = command.reason] { done(absl::CancelledError(reason)); });
  }
}

void Core::Do(ActiveJob* job, const WriteManifest& command) {
  disk_->Post([this, assignment = job->assignment, step = command.step, saves = job->saves, data = job->data,
               loss_scale = job->loss_scale] { CommitOnDisk(*assignment, step, saves, data, loss_scale); });
}

// On the disk's thread. Training goes on as soon as the checkpoint is one; pruning follows on its own.
void Core::CommitOnDisk(const Assignment& assignment, uint64_t step, const std::vector<v1::SaveReply>& saves,
                        const v1::DataIdentity& data, const v1::LossScaleState& loss_scale) {
  Manifest manifest;
  manifest.job = assignment.job;
  manifest.step = step;
  manifest.unix_ms = absl::ToUnixMillis(clock_->Wall());
  manifest.fingerprint = assignment.fingerprint;
  manifest.plan = assignment.plan;
  manifest.spec = assignment.spec;
  manifest.data = data;
  manifest.loss_scale = loss_scale;
  for (const v1::SaveReply& save : saves) {
    manifest.files.push_back({save.file(), save.bytes(), {save.tensors().begin(), save.tensors().end()}});
  }
  const std::string temporary = TemporaryCheckpointPath(assignment.checkpoint_dir, step, assignment.epoch);
  const absl::StatusOr<v1::CheckpointInfo> info = CommitCheckpoint(temporary, manifest);
  if (!info.ok()) {
    LOG(ERROR) << "checkpoint of job " << assignment.job << ", step " << step << ": " << info.status();
    const absl::Status removed = RemoveTree(temporary);
    if (!removed.ok()) LOG(ERROR) << removed;
  }
  {
    CoreLock lock(this);
    ActiveJob* job = Find(assignment.job);
    if (job == nullptr) return;
    if (info.ok()) {
      job->status.set_checkpoint(info->path());
      job->status.set_sha256(info->sha256());
      LOG(INFO) << "job " << assignment.job << ": checkpoint " << info->path();
      // A round that has not begun takes this checkpoint in.
      if (!std::exchange(job->prune_waits, true)) pruner_->Post([this, a = job->assignment] { Prune(*a); });
    }
    Feed(job, Committed{assignment.epoch, info.status()});
  }
}

// On the pruner's thread.
void Core::Prune(const Assignment& assignment) {
  {
    CoreLock lock(this);
    // From here on a new checkpoint needs another round.
    if (ActiveJob* job = Find(assignment.job)) job->prune_waits = false;
  }
  const auto pruned =
      PruneCheckpoints(assignment.checkpoint_dir, static_cast<int>(assignment.spec.checkpoint().keep()));
  if (!pruned.ok()) LOG(ERROR) << "old checkpoints of job " << assignment.job << " stay: " << pruned.status();
}

void Core::Do(ActiveJob* job, const DropCheckpoint& command) {
  disk_->Post([path = TemporaryCheckpointPath(job->checkpoint_dir, command.step, job->machine.epoch())] {
    const absl::Status status = RemoveTree(path);
    if (!status.ok()) LOG(ERROR) << status;
  });
}

void Core::Do(ActiveJob* job, const ReportEval& command) {
  const double targets = static_cast<double>(command.sums.targets());
  v1::EvalResult result;
  result.set_step(command.step);
  result.set_loss(command.sums.loss_sum() / targets);
  result.set_accuracy(static_cast<double>(command.sums.correct()) / targets);
  result.set_targets(command.sums.targets());
  *job->status.mutable_eval() = result;
  ++job->version;
  StepMetrics metrics;
  metrics.step = command.step;
  metrics.eval = result;
  WriteMetrics(job->stored.id, std::move(metrics));
}

void Core::Do(ActiveJob* job, const ReportSample& command) {
  job->status.set_sample(ToUtf8(job->tokenizer->Decode(command.tokens)));
  ++job->version;
}

// The end becomes visible when the summary and the store have it, and not before; and when its checkpoints are pruned,
// since from then on another job may go on from one of them.
void Core::Do(ActiveJob* job, const Ended&) {
  const std::string id = job->stored.id;
  membership_.Release(id);
  // A step that was made, and whose hash did not come before the end.
  if (job->unwritten_metrics.has_value()) WriteMetrics(id, *std::exchange(job->unwritten_metrics, std::nullopt));
  v1::JobStatus status = job->status;
  job->progress.Fill(job->machine.step(), &status);
  status.set_state(job->machine.state());
  status.set_reason(job->machine.reason());
  status.set_step(job->machine.step());
  status.set_eta_seconds(0);
  status.set_ended_unix_ms(absl::ToUnixMillis(clock_->Wall()));
  for (const std::string& line : job->machine.failure()) status.add_failure(ToUtf8(line));
  LOG(INFO) << "job " << id << " " << v1::JobState_Name(status.state()) << " at step " << status.step() << ": "
            << status.reason();
  pruner_->Post([this, status, epoch = job->machine.epoch()] {
    disk_->Post([this, status, epoch] { EndOnDisk(status, epoch); });
  });
  work_.push_back([this] {
    CoreLock lock(this);
    Schedule();
  });
}

void Core::EndOnDisk(const v1::JobStatus& status, uint64_t epoch) {
  const absl::Status written = records_->WriteSummary(status);
  if (!written.ok()) LOG(ERROR) << "summary of job " << status.job() << ": " << written;
  const absl::Status stored = store_->Update(status, epoch);
  if (!stored.ok()) LOG(ERROR) << "job " << status.job() << " could not be stored: " << stored;
  CoreLock lock(this);
  // Whoever watches the job must see its end nevertheless.
  if (!stored.ok()) unstored_ends_[status.job()] = status;
  jobs_.erase(status.job());
}

}  // namespace penstock

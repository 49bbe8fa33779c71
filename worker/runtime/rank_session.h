// A job that is loaded on this worker: one rank of it, its stages, its links, its executor thread. Thread-safe.
// All of the device's work, Load and the end included, happens on the executor's thread.
#ifndef PENSTOCK_WORKER_RUNTIME_RANK_SESSION_H_
#define PENSTOCK_WORKER_RUNTIME_RANK_SESSION_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "proto/worker.pb.h"
#include "worker/runtime/exchange_service.h"
#include "worker/runtime/job_log.h"
#include "worker/runtime/rank_links.h"
#include "worker/runtime/rank_plan.h"
#include "worker/runtime/rank_run.h"
#include "worker/runtime/stage_runner.h"
#include "worker/runtime/step_committer.h"
#include "worker/runtime/stop_signal.h"

namespace penstock {

// What a session uses of its process; nothing is owned, all of it outlives the session.
struct SessionEnvironment {
  Device* device = nullptr;
  ExchangeService* exchange = nullptr;
  StepCommitter* committer = nullptr;
  JobLog* log = nullptr;
  Clock* clock = nullptr;
  std::string worker;  // this worker's id
};

class RankSession {
 public:
  using RunDone = std::function<void(absl::StatusOr<v1::RunReply>)>;

  // Builds the rank's stages. Blocks until that is done. Errors: as rpc Load.
  static absl::StatusOr<std::shared_ptr<RankSession>> Load(const SessionEnvironment& environment,
                                                           const v1::LoadRequest& request);
  ~RankSession();

  // Stops what runs, frees the rank on its own thread and joins it. What others still hold of the session is good for
  // refusals only. Never from the executor's thread. Idempotent.
  void End() ABSL_LOCKS_EXCLUDED(mu_);

  const v1::LoadRequest& request() const { return request_; }
  const v1::LoadReply& loaded() const { return loaded_; }

  // Starts a run; `done` is called once, from the executor's thread, or at once when the run is refused.
  // Errors: as rpc Run. After an error of a run that had started, the session is of no more use.
  void Run(const v1::RunRequest& request, RunDone done) ABSL_LOCKS_EXCLUDED(mu_);

  // Errors: as rpc Save.
  absl::StatusOr<v1::SaveReply> Save(const v1::SaveRequest& request) ABSL_LOCKS_EXCLUDED(mu_);

  // Ends a run within one action, and every wait at once. Does not block.
  void Stop(const absl::Status& why);

  // Whether a run has failed or was stopped: the session is of no more use.
  bool stopped() const { return !stop_->status().ok(); }

  v1::Counters Counters() const;

 private:
  RankSession(const SessionEnvironment& environment, const v1::LoadRequest& request, RankPlan plan);

  // Claims the executor and gives it `task`, which ends with Release(); refused while another one runs, after a
  // failure, and once the session is ending.
  absl::Status Claim(std::function<void()> task) ABSL_LOCKS_EXCLUDED(mu_);
  void Release() ABSL_LOCKS_EXCLUDED(mu_);
  // Runs `task` on the executor's thread.
  void Post(std::function<void()> task) ABSL_LOCKS_EXCLUDED(mu_);
  void ExecutorMain() ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status LoadOnExecutor();
  RunContext MakeContext();

  const SessionEnvironment environment_;
  const v1::LoadRequest request_;
  const RankPlan plan_;
  const std::shared_ptr<StopSignal> stop_;
  v1::LoadReply loaded_;                  // set by Load
  std::unique_ptr<RankLinks> links_;      // set by Load
  std::unique_ptr<LoadedRank> rank_;      // the executor's
  std::atomic<uint64_t> peak_bytes_ = 0;  // the rank's in training, as of its latest vote

  absl::Mutex mu_;
  bool claimed_ ABSL_GUARDED_BY(mu_) = false;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mu_);  // at most a few: one claim, the load, the end
  std::thread executor_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_RANK_SESSION_H_

// Idle workers, lent to something that is no job (generation). Thread-safe.
#ifndef PENSTOCK_COORDINATOR_WORKER_LEASE_H_
#define PENSTOCK_COORDINATOR_WORKER_LEASE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/membership.h"
#include "coordinator/worker_client.h"

namespace penstock {

class WorkerLease {
 public:
  WorkerLease(std::string name, std::vector<WorkerHandle> workers, std::vector<std::shared_ptr<WorkerClient>> clients,
              std::function<void()> release);
  // Gives the workers back.
  ~WorkerLease();

  // What the workers know the work by: "generate/3".
  const std::string& name() const { return name_; }
  const std::vector<WorkerHandle>& workers() const { return workers_; }
  WorkerClient& client(int rank) { return *clients_[rank]; }

  // A handle for a call on one of the workers; Lose cancels it.
  std::shared_ptr<WorkerCall> NewCall();
  // A worker was lost: cancels the calls under way and all that follow.
  void Lose(const absl::Status& status);
  // OK until Lose.
  absl::Status status();

 private:
  const std::string name_;
  const std::vector<WorkerHandle> workers_;
  const std::vector<std::shared_ptr<WorkerClient>> clients_;
  const std::function<void()> release_;
  absl::Mutex mu_;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
  std::vector<std::weak_ptr<WorkerCall>> calls_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_WORKER_LEASE_H_

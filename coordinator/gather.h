// The answers of several workers to calls that were started together. Thread-safe.
#ifndef PENSTOCK_COORDINATOR_GATHER_H_
#define PENSTOCK_COORDINATOR_GATHER_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "common/status_macros.h"
#include "coordinator/jobs/root_cause.h"
#include "coordinator/worker_client.h"

namespace penstock {

// Must live until every call has answered: Wait before it goes.
template <typename Reply>
class Gather {
 public:
  explicit Gather(int calls) : left_(calls), statuses_(calls), replies_(calls) {}

  // What a call is started with; each index once.
  WorkerClient::Done<Reply> Take(int index) {
    return [this, index](const absl::Status& status, const Reply& reply) {
      absl::MutexLock lock(&mu_);
      statuses_[index] = status;
      replies_[index] = reply;
      if (--left_ == 0) all_.Notify();
    };
  }

  // As Wait, but cancels the calls once `cancelled` says that nobody waits for them any more.
  absl::StatusOr<std::vector<Reply>> WaitUnless(const std::function<bool()>& cancelled,
                                                const std::vector<std::shared_ptr<WorkerCall>>& calls) {
    constexpr absl::Duration kLook = absl::Milliseconds(200);
    while (!all_.WaitForNotificationWithTimeout(kLook)) {
      if (!cancelled()) continue;
      for (const std::shared_ptr<WorkerCall>& call : calls) call->Cancel();
    }
    return Wait();
  }

  // Waits for all. Returns: the replies by index. Errors: of those of the calls, the one that explains most.
  absl::StatusOr<std::vector<Reply>> Wait() {
    all_.WaitForNotification();
    absl::MutexLock lock(&mu_);
    absl::Status worst;
    for (const absl::Status& status : statuses_) {
      if (!status.ok() && (worst.ok() || KindOf(status) < KindOf(worst))) worst = status;
    }
    PENSTOCK_RETURN_IF_ERROR(worst);
    return replies_;
  }

 private:
  absl::Mutex mu_;
  int left_ ABSL_GUARDED_BY(mu_);
  std::vector<absl::Status> statuses_ ABSL_GUARDED_BY(mu_);
  std::vector<Reply> replies_ ABSL_GUARDED_BY(mu_);
  absl::Notification all_;
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_GATHER_H_

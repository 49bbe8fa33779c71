// A loaded rank's connections to its neighbours: receiver, senders, credit. Thread-safe; Receive, Send, BeginRange and
// BeginPass belong to the executor's thread.
#ifndef PENSTOCK_WORKER_RUNTIME_RANK_LINKS_H_
#define PENSTOCK_WORKER_RUNTIME_RANK_LINKS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "proto/coordinator.pb.h"
#include "worker/runtime/exchange_service.h"
#include "worker/runtime/executor.h"
#include "worker/runtime/job_log.h"
#include "worker/runtime/peer_sender.h"
#include "worker/runtime/rank_plan.h"
#include "worker/runtime/receiver.h"
#include "worker/runtime/stop_signal.h"

namespace penstock {

class RankLinks final : public TensorPort {
 public:
  // Args: plan: must outlive this. exchange: this worker's; its streams go to this rank from now on.
  //       stop: told when a neighbour is gone or sends nonsense; ends every wait here.
  RankLinks(const RankPlan* plan, ExchangeService* exchange, JobLog* log, Clock* clock,
            std::shared_ptr<StopSignal> stop);
  // Returns when gRPC has let go of the streams to the neighbours.
  ~RankLinks() override;

  // The rank will run `passes` passes of this mode from number `first_pass`: gives credit for them, and opens the
  // streams if this is the first time (by then every rank has loaded).
  void BeginRange(v1::PassMode mode, uint64_t first_pass, uint64_t passes);

  // Waits, before another pass starts, until at most one pass's tensors wait to be sent: where nothing else holds the
  // first rank back (evaluation), it would run ahead without end.
  absl::Status BeginPass();

  absl::StatusOr<ReceivedTensor> Receive(const BoundaryKey& key) override;
  absl::Status Send(const BoundaryKey& key, TensorView tensor) override;

  // Fills in frames, bytes and mailbox.
  void Count(v1::Counters* counters) const;

 private:
  struct Link {
    std::unique_ptr<PeerSender> sender;
    size_t per_pass = 0;  // tensors of the longest list
  };

  const RankPlan* const plan_;
  ExchangeService* const exchange_;
  JobLog* const log_;
  Clock* const clock_;
  const std::shared_ptr<StopSignal> stop_;
  const std::shared_ptr<Receiver> receiver_;
  std::map<LinkKey, Link> links_;  // fixed at construction
  bool opened_ = false;
  std::unique_ptr<StopSignal::Registration> on_stop_;  // last: callbacks use what is above
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_RANK_LINKS_H_

// Who belongs to the cluster: registration, heartbeats, and when a worker counts as lost. Thread-compatible: the core
// guards it. Reads no clock: times are arguments.
//
//                register                 reserve
//   starting --------------> idle <----------------> busy     (given to nobody before its first heartbeat:
//      ^  |                   |         release        |       that it knows its incarnation is sure only then)
//      |  | process ends      | heartbeats stop, process ends
//      |  v                   v                        v
//      +------ lost <---------+------------------------+
//        relaunch             lost --register (a new incarnation)--> idle
//
// A worker that says with its last heartbeat that it leaves is left: as lost, but in order. One that cluster.yaml does
// not name is forgotten then.
//
// Source: docs/recovery.md, "Membership".
#ifndef PENSTOCK_COORDINATOR_MEMBERSHIP_H_
#define PENSTOCK_COORDINATOR_MEMBERSHIP_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/jobs/root_cause.h"
#include "coordinator/jobs/scheduler.h"
#include "proto/coordinator.pb.h"
#include "spec/cluster_spec.h"

namespace penstock {

// A worker that was live is gone.
struct WorkerLoss {
  std::string id;
  uint64_t incarnation = 0;
  std::string job;  // that it was reserved for; empty: none
  Fault fault;      // `where` is empty
};

struct WorkerHandle {
  std::string id;
  uint64_t incarnation = 0;
  std::string address;
  std::string label;        // "localhost/cpu.1, pid 77 on localhost"
  std::string fingerprint;  // numeric fingerprint
  uint64_t memory_bytes = 0;
};

class Membership {
 public:
  // Args:    expected: the workers of cluster.yaml; they are "starting" until they register.
  //          every: between heartbeats. lost_after: without a heartbeat, by Tick's clock.
  Membership(const std::vector<WorkerSpec>& expected, absl::Duration every, absl::Duration lost_after);

  // What Register needs to know before an incarnation is drawn for it (which is a write to disk).
  // Returns: the answer to give where the call is a repetition, nullopt where it is a new process.
  // Errors:  as rpc Register.
  absl::StatusOr<std::optional<v1::RegisterReply>> CheckRegister(const v1::RegisterRequest& request) const;

  // Takes the worker in. Errors: as CheckRegister, which is asked again.
  // Args:    incarnation: larger than every one this id had.
  absl::StatusOr<v1::RegisterReply> Register(const v1::RegisterRequest& request, uint64_t incarnation,
                                             absl::Duration now);

  struct HeartbeatNews {
    bool fresh = false;              // not a repeated sequence number; a repetition's log lines must be dropped
    bool first = false;              // the worker can be given work from now on
    std::optional<WorkerLoss> left;  // it was its last one
  };
  // Errors:  as rpc Heartbeat.
  absl::StatusOr<HeartbeatNews> Heartbeat(const v1::HeartbeatRequest& request, absl::Duration now);

  // Errors:  NotFound: not registered. Aborted: another incarnation.
  absl::Status CheckIncarnation(const std::string& id, uint64_t incarnation) const;

  // Finds the workers whose heartbeats stopped. Call at least every `every`: a call that comes late by d gives every
  // worker d more time, since this process itself did not get to run.
  std::vector<WorkerLoss> Advance(absl::Duration now);

  // The launcher saw the process end. Returns the loss, if it was live. `what` becomes the reason in its status.
  std::optional<WorkerLoss> ProcessEnded(const std::string& id, const std::string& what,
                                         std::vector<std::string> last_log);
  // A process is started (again) for the id.
  void ProcessStarted(const std::string& id);

  // REQUIRES: the worker is offered as idle.
  void Reserve(const std::string& id, const std::string& job);
  // Frees every worker of the job.
  void Release(const std::string& job);

  // In the order of cluster.yaml, then of arrival.
  std::vector<WorkerOffer> Offers() const;
  std::vector<uint64_t> MemoryLimits() const;
  // REQUIRES: the worker is live.
  WorkerHandle Handle(const std::string& id) const;
  bool IsLive(const std::string& id) const;
  std::vector<WorkerHandle> Live() const;

  // Every expected worker has registered. Errors: Unavailable: names those that have not, with the reason.
  absl::Status Ready() const;
  std::vector<v1::WorkerStatus> Status(absl::Duration now) const;

 private:
  enum class State { kStarting, kIdle, kBusy, kLost, kLeft };
  struct Worker {
    std::string id;
    State state = State::kStarting;
    std::string reason;
    std::string job;
    bool expected = false;
    uint64_t memory_bytes = 0;
    v1::RegisterRequest registered;
    uint64_t incarnation = 0;
    uint64_t sequence = 0;
    uint64_t resident_bytes = 0;
    absl::Duration seen;

    bool heard = false;  // had a heartbeat of this incarnation

    bool live() const { return state == State::kIdle || state == State::kBusy; }
  };

  const Worker* Find(const std::string& id) const;
  Worker* Find(const std::string& id);
  v1::RegisterReply Reply(const Worker& worker) const;
  WorkerLoss Lose(Worker* worker, Fault fault);

  const absl::Duration every_;
  const absl::Duration lost_after_;
  std::vector<Worker> workers_;
  std::optional<absl::Duration> advanced_;
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_MEMBERSHIP_H_

// A whole coordinator in this process, on a free port, with fake workers: what core's tests stand on.
#ifndef PENSTOCK_TESTS_COORDINATOR_FAKE_CLUSTER_H_
#define PENSTOCK_TESTS_COORDINATOR_FAKE_CLUSTER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/core.h"
#include "coordinator/jobs/job_store.h"
#include "coordinator/records/cost_store.h"
#include "coordinator/records/job_records.h"
#include "coordinator/service.h"
#include "proto/coordinator.grpc.pb.h"
#include "tests/coordinator/fake_worker.h"

namespace penstock {

class FakeCluster {
 public:
  // Jobs that may wait.
  static constexpr size_t kMaxQueued = 20;

  // Args:    state_dir: empty: a new one. lost_after: of the heartbeats.
  explicit FakeCluster(std::string state_dir = "", absl::Duration lost_after = absl::Seconds(20));
  ~FakeCluster();

  FakeWorker& AddWorker(FakeWorkerOptions options = {});
  // The cluster's end as a crash: nothing is stopped, nothing more is written.
  void Crash();

  // A two-stage byte-level model. `more`: YAML of further sections.
  v1::JobSpec Spec(const std::string& name, int steps, int stages = 2, const std::string& more = "");
  absl::StatusOr<std::string> Submit(const v1::JobSpec& spec, bool resume = false, std::string request_id = "");
  // Watches the job over the wire until it ends.
  v1::JobStatus AwaitEnd(const std::string& job);
  v1::GetReply Get(const std::string& job);
  absl::Status Stop(const std::string& job, bool no_checkpoint = false);

  v1::Jobs::Stub& jobs() { return *jobs_; }
  v1::Cluster::Stub& cluster() { return *cluster_; }
  Core& core() { return *core_; }
  const std::string& state_dir() const { return state_dir_; }
  const std::string& address() const { return server_->address(); }

 private:
  std::string state_dir_;
  std::unique_ptr<JobStore> store_;
  std::unique_ptr<JobRecords> records_;
  std::unique_ptr<CostStore> costs_;
  std::unique_ptr<Core> core_;
  std::unique_ptr<CoordinatorServer> server_;
  std::vector<std::unique_ptr<FakeWorker>> workers_;
  std::unique_ptr<v1::Jobs::Stub> jobs_;
  std::unique_ptr<v1::Cluster::Stub> cluster_;
};

// A folder that no other test has.
std::string NewTestDir();

}  // namespace penstock

#endif  // PENSTOCK_TESTS_COORDINATOR_FAKE_CLUSTER_H_

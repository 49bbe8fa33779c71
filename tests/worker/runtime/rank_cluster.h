// Several loaded ranks in one process, joined by real streams over loopback; for tests. Testonly.
#ifndef PENSTOCK_TESTS_WORKER_RUNTIME_RANK_CLUSTER_H_
#define PENSTOCK_TESTS_WORKER_RUNTIME_RANK_CLUSTER_H_

#include <grpcpp/server.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "worker/runtime/exchange_service.h"
#include "worker/runtime/fake_rank.h"
#include "worker/runtime/job_log.h"
#include "worker/runtime/rank_session.h"

namespace penstock {

struct PipelineShape {
  int ranks = 3;
  int micro_batches = 4;
  int batch = 8;
  int features = 64;
  std::string schedule = "gpipe";  // or "1f1b"
  // Several stages a rank: where each one is, and each rank's compute actions as text; empty: one stage a rank, in the
  // schedule's order.
  std::vector<int> rank_of_stage = {};
  std::vector<std::string> compute = {};
  // The last layer adds up the outputs of these layers and the one before it: tensors pass the stages between.
  std::vector<int> skips = {};
};

// A job whose stages are one layer each, which keeps the shape, as the coordinator would send it. Addresses are left
// empty.
v1::LoadRequest MakeLoad(const PipelineShape& shape);

// Waits for every rank's vote, as the coordinator does.
class FakeCommitter final : public StepCommitter {
 public:
  explicit FakeCommitter(int ranks) : ranks_(ranks) {}
  absl::StatusOr<v1::StepDecision> Commit(const v1::StepVote& vote, StopSignal* stop) override;

  void EndAfter(uint64_t step);             // decision.last
  void RefuseStep(uint64_t step);           // decision.commit = false
  std::vector<v1::StepVote> votes() const;  // the latest ones

 private:
  const int ranks_;
  mutable absl::Mutex mu_;
  std::map<uint64_t, int> count_ ABSL_GUARDED_BY(mu_);
  std::deque<v1::StepVote> votes_ ABSL_GUARDED_BY(mu_);
  uint64_t last_ ABSL_GUARDED_BY(mu_) = ~uint64_t{0};
  uint64_t refused_ ABSL_GUARDED_BY(mu_) = ~uint64_t{0};
};

class FakeJobLog final : public JobLog {
 public:
  void Write(const std::string& job, int rank, absl::string_view text) override;
  std::vector<std::string> lines() const;
  // Waits until a line holds `text`.
  void Await(const std::string& text) const;

 private:
  mutable absl::Mutex mu_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mu_);
};

class RankCluster {
 public:
  RankCluster(const PipelineShape& shape, Clock* clock, FakeDevice::BeforeAction before = nullptr);
  ~RankCluster();

  // Loads every rank; CHECKs that it worked.
  void Load();
  // Runs the request on every rank at once (job, epoch and incarnation are filled in); waits for all.
  std::vector<absl::StatusOr<v1::RunReply>> Run(v1::RunRequest request);
  // Ends one rank as if its process had died: its server and its session go.
  void Kill(int rank);

  static v1::RunRequest Train(uint64_t first_pass, uint64_t from, uint64_t to);

  v1::LoadRequest LoadRequestFor(int rank) const;
  const std::string& address(int rank) const { return ranks_[rank]->address; }
  RankSession& session(int rank) { return *ranks_[rank]->session; }
  FakeDevice& device(int rank) { return *ranks_[rank]->device; }
  FakeCommitter& committer() { return committer_; }
  FakeJobLog& log() { return log_; }

 private:
  struct RankProcess {
    std::unique_ptr<FakeDevice> device;
    ExchangeService exchange;
    std::unique_ptr<grpc::Server> server;
    std::string address;
    std::shared_ptr<RankSession> session;
  };

  Clock* const clock_;
  v1::LoadRequest load_;
  FakeCommitter committer_;
  FakeJobLog log_;
  std::vector<std::unique_ptr<RankProcess>> ranks_;
};

}  // namespace penstock

#endif  // PENSTOCK_TESTS_WORKER_RUNTIME_RANK_CLUSTER_H_

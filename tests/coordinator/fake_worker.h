// A worker without torch, in this process: speaks the protocol over real sockets and does what a test tells it to.
// Thread-safe.
#ifndef PENSTOCK_TESTS_COORDINATOR_FAKE_WORKER_H_
#define PENSTOCK_TESTS_COORDINATOR_FAKE_WORKER_H_

#include <grpcpp/server.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "proto/coordinator.grpc.pb.h"
#include "proto/worker.grpc.pb.h"

namespace penstock {

struct FakeWorkerOptions {
  std::string id = "w0";
  std::string coordinator;
  std::string version;  // empty: this version
  std::string self_test = "aa";
  std::string fingerprint = "fake";
  uint64_t memory_bytes = 0;  // 0: no limit
  // A layer's measured times in microseconds are this, times its number from 1, times its part's: 1 forward, 2 input
  // gradient, 3 weight gradient.
  double layer_us = 100;
  // Asked when a probe of a link runs; an error ends it with it.
  std::function<absl::Status(grpc::ServerContext* context)> on_probe;
  // Asked before each vote; an error ends the run with it.
  std::function<absl::Status(uint64_t step)> on_step;
  // Asked after each step that was committed; an error ends the run with it.
  std::function<absl::Status(uint64_t step)> after_step;
  // The squared norm that each parameter votes with.
  std::function<double(uint64_t step)> squared_norm;
};

class FakeWorker final : public v1::Worker::Service {
 public:
  explicit FakeWorker(FakeWorkerOptions options);
  ~FakeWorker() override;

  // OK once registered and heard of; the coordinator's error where it refuses.
  absl::Status Start();
  // Ends like a killed process: no more heartbeats, every connection breaks.
  void Die();

  // Runs stop before they vote on `step`, until Release.
  void HoldAt(uint64_t step);
  void Release();
  // Waits until a run is held.
  void AwaitHeld();

  std::vector<std::string> calls() const;  // "load", "train 1..4", "unload", …
  int loaded_jobs() const;
  uint64_t incarnation() const;

  grpc::Status Load(grpc::ServerContext*, const v1::LoadRequest* request, v1::LoadReply* reply) override;
  grpc::Status Run(grpc::ServerContext* context, const v1::RunRequest* request, v1::RunReply* reply) override;
  grpc::Status Save(grpc::ServerContext*, const v1::SaveRequest* request, v1::SaveReply* reply) override;
  grpc::Status Measure(grpc::ServerContext*, const v1::MeasureRequest* request, v1::MeasureReply* reply) override;
  grpc::Status Unload(grpc::ServerContext*, const v1::UnloadRequest* request, v1::UnloadReply*) override;

 private:
  struct Loaded {
    v1::LoadRequest request;
    std::vector<std::string> parameters;
    bool last_stage = false;
    uint64_t step = 0;
  };

  absl::Status RunSteps(grpc::ServerContext* context, const v1::RunRequest& request, v1::RunReply* reply);
  absl::StatusOr<v1::StepDecision> Vote(grpc::ServerContext* context, const Loaded& loaded, uint64_t step);
  absl::Status WaitWhileHeld(grpc::ServerContext* context, uint64_t step);
  void Heartbeats();
  Loaded Current(const std::string& job) const;
  void Note(const std::string& call);

  const FakeWorkerOptions options_;
  const std::string nonce_;
  std::unique_ptr<v1::Membership::Stub> membership_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  std::thread heartbeats_;

  mutable absl::Mutex mu_;
  std::map<std::string, Loaded> loaded_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> calls_ ABSL_GUARDED_BY(mu_);
  uint64_t incarnation_ ABSL_GUARDED_BY(mu_) = 0;
  bool dead_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<uint64_t> hold_at_ ABSL_GUARDED_BY(mu_);
  bool heard_ ABSL_GUARDED_BY(mu_) = false;
  bool held_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace penstock

#endif  // PENSTOCK_TESTS_COORDINATOR_FAKE_WORKER_H_

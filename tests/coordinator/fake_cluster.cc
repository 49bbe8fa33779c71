#include "tests/coordinator/fake_cluster.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/channel.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/grpc_status.h"
#include "common/logging.h"
#include "common/process.h"
#include "spec/job_file.h"

namespace penstock {

std::string NewTestDir() {
  static std::atomic<int> count = 0;
  const std::string dir = absl::StrCat(::testing::TempDir(), "/cluster-", getpid(), "-", count++);
  CHECK(MakeDirs(dir).ok());
  return dir;
}

FakeCluster::FakeCluster(std::string state_dir, absl::Duration lost_after)
    : state_dir_(state_dir.empty() ? NewTestDir() : std::move(state_dir)) {
  ClusterSpec spec;
  spec.state_dir = state_dir_;
  spec.heartbeat_every = absl::Milliseconds(20);
  spec.lost_after = lost_after;
  spec.launch = LaunchWith::kNone;
  absl::StatusOr<std::unique_ptr<JobStore>> store = JobStore::Open(state_dir_, Clock::Real()->Wall());
  CHECK(store.ok()) << store.status();
  store_ = *std::move(store);
  records_ = std::make_unique<JobRecords>(state_dir_);
  absl::StatusOr<std::unique_ptr<CostStore>> costs = CostStore::Open(state_dir_);
  CHECK(costs.ok()) << costs.status();
  costs_ = *std::move(costs);
  core_ = std::make_unique<Core>(spec, store_.get(), records_.get(), Clock::Real(), kMaxQueued, costs_.get());
  absl::StatusOr<std::unique_ptr<CoordinatorServer>> server = CoordinatorServer::Start("127.0.0.1:0", core_.get());
  CHECK(server.ok()) << server.status();
  server_ = *std::move(server);
  CHECK(core_->Start(server_->address(), "").ok());
  jobs_ = v1::Jobs::NewStub(OpenChannel(server_->address()));
  cluster_ = v1::Cluster::NewStub(OpenChannel(server_->address()));
}

FakeCluster::~FakeCluster() {
  if (core_ != nullptr) core_->Drain(/*no_checkpoint=*/true);
  workers_.clear();
  server_.reset();
}

void FakeCluster::Crash() {
  core_.reset();
  server_.reset();
  store_.reset();
  costs_.reset();
  workers_.clear();
}

FakeWorker& FakeCluster::AddWorker(FakeWorkerOptions options) {
  options.coordinator = server_->address();
  if (options.id == "w0") options.id = absl::StrCat("w", workers_.size());
  workers_.push_back(std::make_unique<FakeWorker>(std::move(options)));
  const absl::Status started = workers_.back()->Start();
  CHECK(started.ok()) << started;
  return *workers_.back();
}

v1::JobSpec FakeCluster::Spec(const std::string& name, int steps, int stages, const std::string& more) {
  const std::string path = absl::StrCat(state_dir_, "/", name, ".yaml");
  std::ofstream(absl::StrCat(state_dir_, "/data.txt")) << std::string(4000, 'a');
  std::ofstream(path) << "version: 1\nkind: job\nname: " << name << R"(
model:
  loss: cross_entropy
  layers:
    - embedding: {name: wte, vocab: 256, dim: 8}
    - layer_norm: {name: ln}
    - lm_head: {name: head, vocab: 256}
data:
  train: {format: text, path: data.txt, part: [0, 0.5]}
  eval: {format: text, path: data.txt, part: [0.5, 1]}
  seq_len: 8
)"
                      << "pipeline: {stages: " << stages
                      << ", micro_batches: 2, schedule: 1f1b}\ntrain: {steps: " << steps
                      << ", batch_size: 4, optimizer: {name: sgd, lr: 0.1}}\nlog: {every: 1}\n"
                      << more;
  absl::StatusOr<v1::JobSpec> spec = ReadJobFile(path);
  CHECK(spec.ok()) << spec.status();
  return *std::move(spec);
}

absl::StatusOr<std::string> FakeCluster::Submit(const v1::JobSpec& spec, bool resume, std::string request_id) {
  v1::SubmitRequest request;
  request.set_request_id(request_id.empty() ? RandomId() : request_id);
  *request.mutable_spec() = spec;
  request.set_resume(resume);
  request.set_yaml("name: " + spec.name());
  v1::SubmitReply reply;
  grpc::ClientContext context;
  const absl::Status status = FromGrpc(jobs_->Submit(&context, request, &reply));
  if (!status.ok()) return status;
  return reply.job();
}

v1::JobStatus FakeCluster::AwaitEnd(const std::string& job) {
  v1::WatchRequest request;
  request.set_job(job);
  grpc::ClientContext context;
  const auto reader = jobs_->Watch(&context, request);
  v1::JobStatus status;
  for (v1::JobStatus next; reader->Read(&next);) status = next;
  const absl::Status ended = FromGrpc(reader->Finish());
  EXPECT_TRUE(ended.ok()) << ended;
  return status;
}

v1::GetReply FakeCluster::Get(const std::string& job) {
  v1::GetRequest request;
  request.set_job(job);
  v1::GetReply reply;
  grpc::ClientContext context;
  const absl::Status status = FromGrpc(jobs_->Get(&context, request, &reply));
  EXPECT_TRUE(status.ok()) << status;
  return reply;
}

absl::Status FakeCluster::Stop(const std::string& job, bool no_checkpoint) {
  v1::StopRequest request;
  request.set_job(job);
  request.set_no_checkpoint(no_checkpoint);
  v1::StopReply reply;
  grpc::ClientContext context;
  return FromGrpc(jobs_->Stop(&context, request, &reply));
}

}  // namespace penstock

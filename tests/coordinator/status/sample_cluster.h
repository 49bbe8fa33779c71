// A cluster with a job in each part of its life, for tests.
#ifndef PENSTOCK_TESTS_COORDINATOR_STATUS_SAMPLE_CLUSTER_H_
#define PENSTOCK_TESTS_COORDINATOR_STATUS_SAMPLE_CLUSTER_H_

#include <string>

#include "proto/coordinator.pb.h"

namespace penstock {

inline v1::JobStatus RunningJob() {
  v1::JobStatus job;
  job.set_job("kjv-1");
  job.set_name("kjv");
  job.set_state(v1::RUNNING);
  job.set_step(100);
  job.set_steps(400);
  job.set_loss(2.3125);
  job.set_lr(3e-4);
  job.set_grad_norm(0.75);
  job.set_tokens_per_second(4096);
  job.set_bubble(0.25);
  job.set_step_seconds(0.5);
  job.set_eta_seconds(120);
  job.set_unit("tokens");
  for (uint32_t i = 0; i < 2; ++i) {
    v1::StageStatus* stage = job.add_stages();
    stage->set_stage(i);
    stage->set_rank(i);
    stage->set_worker("localhost/cpu." + std::to_string(i));
    stage->set_layers(i == 0 ? "wte .. h.1" : "h.2 .. head");
    stage->set_parameters(1000);
    stage->set_parameter_bytes(4000);
    stage->set_frames_sent(6400 + i);
    stage->set_bytes_sent(uint64_t{1} << 33);
    stage->set_busy(0.75);
  }
  return job;
}

inline v1::ClusterStatus SampleCluster() {
  v1::ClusterStatus cluster;
  cluster.set_name("lab");
  cluster.set_version("0.1.0");
  cluster.set_address("127.0.0.1:7400");
  cluster.set_started_unix_ms(1767225600000);
  for (int i = 0; i < 2; ++i) {
    v1::WorkerStatus* worker = cluster.add_workers();
    worker->set_id("localhost/cpu." + std::to_string(i));
    worker->set_incarnation(3);
    worker->set_host("localhost");
    worker->set_pid(4000 + i);
    worker->set_device("cpu");
    worker->set_resident_bytes(300 << 20);
    worker->set_state(i == 0 ? "busy" : "lost");
    worker->set_reason(i == 0 ? "" : "no heartbeat for 2 s");
    worker->set_heartbeat_age_seconds(0.125);
  }
  *cluster.add_jobs() = RunningJob();
  v1::JobStatus* pending = cluster.add_jobs();
  pending->set_job("digits-2");
  pending->set_state(v1::PENDING);
  pending->set_reason("waits for 2 idle workers; 1 is idle");
  v1::JobStatus* failed = cluster.add_jobs();
  failed->set_job("kjv-0");
  failed->set_state(v1::FAILED);
  failed->set_reason("rank 1 <localhost/cpu.1>: killed by signal 9");
  failed->set_step(7);
  failed->set_steps(400);
  return cluster;
}

}  // namespace penstock

#endif  // PENSTOCK_TESTS_COORDINATOR_STATUS_SAMPLE_CLUSTER_H_

// Cluster files: what a sound one becomes, the round trip, and each class of error with its exact text.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "spec/cluster_spec.h"
#include "tests/spec/spec_fixture.h"

namespace penstock {
namespace {

class ClusterFileTest : public SpecTest {
 protected:
  ClusterFileTest() { setenv("XDG_STATE_HOME", "/state", 1); }

  absl::StatusOr<ClusterSpec> ReadCluster(const std::string& text) const {
    return ReadClusterFile(Write("cluster.yaml", text));
  }
  std::string ErrorsOfCluster(const std::string& body) const {
    const absl::Status status = ReadCluster("version: 1\nkind: cluster\n" + body).status();
    return status.ok() ? "OK" : WithoutExcerpts(status.message());
  }
  static std::string Text(const WorkerSpec& worker) {
    return worker.id + " " + worker.host + " " + worker.device + " " + std::to_string(worker.memory_bytes);
  }
};

constexpr char kSmallest[] = "version: 1\nkind: cluster\nworkers: [{host: localhost, devices: [cpu, cpu]}]\n";

TEST_F(ClusterFileTest, SmallestFileHasEveryDefault) {
  const absl::StatusOr<ClusterSpec> spec = ReadCluster(kSmallest);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->name, "local");
  EXPECT_EQ(spec->listen, "127.0.0.1:7400");
  EXPECT_EQ(spec->http, "127.0.0.1:7480");
  EXPECT_EQ(spec->state_dir, "/state/penstock/local");
  EXPECT_EQ(spec->launch, LaunchWith::kLocal);
  EXPECT_EQ(spec->heartbeat_every, absl::Milliseconds(200));
  EXPECT_EQ(spec->lost_after, absl::Seconds(2));
  ASSERT_EQ(spec->workers.size(), 2u);
  EXPECT_EQ(Text(spec->workers[0]), "localhost/cpu.0 localhost cpu 0");
  EXPECT_EQ(Text(spec->workers[1]), "localhost/cpu.1 localhost cpu 0");
}

TEST_F(ClusterFileTest, StateFallsBackToTheHomeFolder) {
  unsetenv("XDG_STATE_HOME");
  setenv("HOME", "/home/someone", 1);
  EXPECT_EQ(ReadCluster(kSmallest)->state_dir, "/home/someone/.local/state/penstock/local");
}

TEST_F(ClusterFileTest, WritesAClusterThatReadsBackTheSame) {
  const std::string text = R"(version: 1
kind: cluster
name: lab
coordinator: {listen: 127.0.0.1:0, http: 127.0.0.1:0, state_dir: state}
launch: {with: none}
heartbeat: {every: 50ms, lost_after: 1.5s}
workers:
  - {host: localhost, devices: [cpu, cuda:0], memory: 512MiB}
  - {host: 127.0.0.2, devices: [cpu]}
  - {host: localhost, devices: [cpu], memory: 1000}
)";
  const absl::StatusOr<ClusterSpec> spec = ReadCluster(text);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->state_dir, folder_ + "/state");
  EXPECT_EQ(spec->launch, LaunchWith::kNone);
  EXPECT_EQ(spec->lost_after, absl::Milliseconds(1500));
  ASSERT_EQ(spec->workers.size(), 4u);
  EXPECT_EQ(Text(spec->workers[1]), "localhost/cuda:0.1 localhost cuda:0 536870912");
  EXPECT_EQ(Text(spec->workers[3]), "localhost/cpu.2 localhost cpu 1000");
  const std::string yaml = ToYaml(*spec);
  const absl::StatusOr<ClusterSpec> again = ReadCluster(yaml);
  ASSERT_TRUE(again.ok()) << again.status() << yaml;
  EXPECT_EQ(ToYaml(*again), yaml);
  EXPECT_EQ(again->state_dir, spec->state_dir);
  for (size_t i = 0; i < spec->workers.size(); ++i) EXPECT_EQ(Text(again->workers[i]), Text(spec->workers[i]));
}

TEST_F(ClusterFileTest, NeedsNoWorkersWhereTheyJoinByThemselves) {
  EXPECT_EQ(ErrorsOfCluster("launch: {with: none}\n"), "OK");
  EXPECT_EQ(ErrorsOfCluster("name: x\n"), "cluster.yaml:1:1: error: missing key 'workers'\n");
  EXPECT_EQ(ErrorsOfCluster("workers: []\n"),
            "cluster.yaml:3:10: error: workers is an empty list: there would be nothing to run a job\n");
}

TEST_F(ClusterFileTest, ReportsAllErrorsOfAFileInOneRun) {
  const std::string errors = ErrorsOfCluster(R"(coordinator: {tls: {}, auth: {token_file: x}, htpp: 1}
network: {cidr: 10.0.0.0/24}
launch: {with: slurm, ssh: {user: ml}}
heartbeat: {every: 1s, lost_after: 1s}
workers:
  - {host: gpu01, devices: [cuda:0]}
  - {host: localhost, devices: [gpu], memory: lots}
  - {devices: []}
)");
  EXPECT_EQ(
      errors,
      "cluster.yaml:3:15: error: coordinator.tls: this version has no TLS: it listens on loopback addresses only\n"
      "cluster.yaml:3:24: error: coordinator.auth: this version has no tokens: it listens on loopback addresses "
      "only\n"
      "cluster.yaml:3:47: error: unknown key 'htpp' in 'coordinator'; did you mean 'http'?\n"
      "cluster.yaml:4:1: error: network: this version listens on loopback addresses only: leave it out\n"
      "cluster.yaml:5:16: error: launch.with: this version does not have 'slurm': it has local, and none for workers "
      "that join by themselves\n"
      "cluster.yaml:5:23: error: launch.ssh: this version starts workers of this host only\n"
      "cluster.yaml:6:36: error: heartbeat.lost_after is 1s: it must be at least twice heartbeat.every, 1s\n"
      "cluster.yaml:8:12: error: workers[0].host: 'gpu01' is not this host: this version launches local workers only "
      "(localhost or 127.x)\n"
      "cluster.yaml:9:33: error: workers[1].devices[0]: 'gpu' is not a device: cpu, or cuda:N\n"
      "cluster.yaml:9:47: error: workers[1].memory: expected a size such as 78GiB or 512MiB, found 'lots'\n"
      "cluster.yaml:10:5: error: missing key 'host' in 'workers[2]'\n"
      "cluster.yaml:10:15: error: workers[2].devices is an empty list\n");
}

TEST_F(ClusterFileTest, RefusesAddressesNamesAndTimesThatCannotWork) {
  const std::string workers = "workers: [{host: localhost, devices: [cpu]}]\n";
  const std::string errors = ErrorsOfCluster("coordinator: {listen: 10.0.0.10:7400, http: nonsense}\n" + workers);
  EXPECT_EQ(errors.find("cluster.yaml:3:23: error: coordinator.listen: "), 0u) << errors;
  EXPECT_NE(errors.find("cluster.yaml:3:45: error: coordinator.http: "), std::string::npos) << errors;
  EXPECT_EQ(ErrorsOfCluster("coordinator: {listen: 127.0.0.1:7480}\n" + workers),
            "cluster.yaml:3:23: error: coordinator.listen: coordinator.listen and coordinator.http are both "
            "127.0.0.1:7480: they need two ports\n");
  EXPECT_EQ(
      ErrorsOfCluster("name: a/b\n" + workers),
      "cluster.yaml:3:7: error: name is 'a/b': a name has at most 100 letters, digits, '-', '_' and '.', and begins "
      "with a letter, a digit or '_'\n");
  EXPECT_EQ(ErrorsOfCluster("heartbeat: {every: 1ms}\n" + workers),
            "cluster.yaml:3:20: error: heartbeat.every is 1ms: it must be at least 10ms\n");
}

TEST_F(ClusterFileTest, RefusesAJobFile) {
  EXPECT_EQ(
      WithoutExcerpts(
          ReadCluster("version: 1\nkind: job\nworkers: [{host: localhost, devices: [cpu]}]\n").status().message()),
      "cluster.yaml:2:7: error: this is a job file: a cluster file is needed here\n");
  EXPECT_EQ(ReadClusterFile(folder_ + "/none.yaml").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace penstock

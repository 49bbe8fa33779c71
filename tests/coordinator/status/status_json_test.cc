#include "coordinator/status/status_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/coordinator/status/sample_cluster.h"

namespace penstock {
namespace {

using nlohmann::json;

TEST(StatusJsonTest, AJobHasItsFieldsEvenWhereTheyAreZero) {
  v1::GetReply reply;
  reply.mutable_status()->set_state(v1::PENDING);
  const json job = json::parse(JobJson(reply), nullptr, false);
  for (const char* name : {"job", "state", "reason", "step", "steps", "loss", "tokens_per_second", "bubble", "stages",
                           "sha256", "checkpoints", "failure"}) {
    EXPECT_TRUE(job.contains(name)) << name;
  }
  EXPECT_EQ(job["state"], "PENDING");
  EXPECT_EQ(job["step"], 0);
  EXPECT_EQ(job["stages"], json::array());
  EXPECT_TRUE(job["eval"].is_null());
}

TEST(StatusJsonTest, LargeNumbersAreNumbersAndKeepEveryDigit) {
  v1::GetReply reply;
  *reply.mutable_status() = RunningJob();
  reply.mutable_status()->mutable_stages(0)->set_bytes_sent(~uint64_t{0});
  reply.mutable_status()->set_loss(0.1);
  v1::CheckpointInfo* checkpoint = reply.add_checkpoints();
  checkpoint->set_step(50);
  const json job = json::parse(JobJson(reply), nullptr, false);
  EXPECT_EQ(job["stages"][0]["bytes_sent"].get<uint64_t>(), ~uint64_t{0});
  EXPECT_EQ(job["loss"].get<double>(), 0.1);
  EXPECT_EQ(job["checkpoints"][0]["step"], 50);
}

TEST(StatusJsonTest, WhatJsonCannotHoldDoesNotBreakIt) {
  v1::GetReply reply;
  *reply.mutable_status() = RunningJob();
  reply.mutable_status()->set_loss(std::nan(""));
  reply.mutable_status()->set_reason("\x01 \"quoted\"");
  const json job = json::parse(JobJson(reply), nullptr, false);
  ASSERT_FALSE(job.is_discarded());
  EXPECT_TRUE(job["loss"].is_null());
  EXPECT_EQ(job["reason"], "\x01 \"quoted\"");
}

TEST(StatusJsonTest, TheClusterHoldsWorkersAndJobs) {
  const json cluster = json::parse(ClusterJson(SampleCluster()), nullptr, false);
  EXPECT_EQ(cluster["name"], "lab");
  EXPECT_EQ(cluster["workers"][1]["reason"], "no heartbeat for 2 s");
  EXPECT_EQ(cluster["jobs"][0]["stages"][1]["frames_sent"], 6401);
}

}  // namespace
}  // namespace penstock

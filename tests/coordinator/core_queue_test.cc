// Into the coordinator's queue and out of it: submissions that meet other jobs, the cluster's end, or a store that
// does not take what it is told.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/coordinator/fake_cluster.h"

namespace penstock {
namespace {

TEST(CoreQueueTest, ACheckpointFolderBelongsToOneJobUntilItHasEnded) {
  // The folder was only looked at for checkpoints when a job was submitted: two jobs could own one empty folder, and
  // each deleted what the other had begun to write there.
  FakeCluster cluster;
  FakeWorker& worker = cluster.AddWorker();
  worker.HoldAt(1);
  v1::JobSpec spec = cluster.Spec("tiny", 2, 1);
  spec.mutable_checkpoint()->set_dir(cluster.state_dir() + "/mine");
  const std::string first = *cluster.Submit(spec);
  worker.AwaitHeld();
  spec.mutable_checkpoint()->set_dir(cluster.state_dir() + "/./mine/");
  for (const bool resume : {false, true}) {
    const absl::Status refused = cluster.Submit(spec, resume).status();
    EXPECT_TRUE(absl::IsAlreadyExists(refused)) << refused;
    EXPECT_TRUE(absl::StartsWith(refused.message(), absl::StrCat("job ", first, ", which has not ended,"))) << refused;
  }
  worker.Release();
  ASSERT_EQ(cluster.AwaitEnd(first).state(), v1::SUCCEEDED);
  spec.mutable_train()->set_steps(3);
  const auto next = cluster.Submit(spec, /*resume=*/true);
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(cluster.AwaitEnd(*next).step(), 3u);
}

}  // namespace
}  // namespace penstock

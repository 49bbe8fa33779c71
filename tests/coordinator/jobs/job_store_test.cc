#include "coordinator/jobs/job_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace penstock {
namespace {

NewJob Job(const std::string& name, const std::string& request) {
  NewJob job;
  job.request_id = request;
  job.spec.set_name(name);
  job.spec.mutable_train()->set_steps(10);
  job.yaml = "name: " + name;
  return job;
}

class JobStoreTest : public ::testing::Test {
 protected:
  JobStoreTest() : dir_(absl::StrCat(::testing::TempDir(), "/store-", getpid(), "-", count_++)) { Reopen(); }

  void Reopen() {
    store_.reset();
    auto store = JobStore::Open(dir_, absl::FromUnixSeconds(100));
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }

  void SetState(const std::string& id, v1::JobState state) {
    v1::JobStatus status = store_->Get(id)->status;
    status.set_state(state);
    status.set_step(7);
    ASSERT_TRUE(store_->Update(status, 3).ok());
  }

  static inline int count_ = 0;
  const std::string dir_;
  std::unique_ptr<JobStore> store_;
};

TEST_F(JobStoreTest, KeepsWhatItHasAnsweredFor) {
  const std::string id = *store_->Insert(Job("kjv", "r1"), absl::FromUnixSeconds(50));
  EXPECT_EQ(id, "kjv-1");
  Reopen();
  const StoredJob job = *store_->Get(id);
  EXPECT_EQ(job.spec.train().steps(), 10u);
  EXPECT_EQ(job.yaml, "name: kjv");
  EXPECT_EQ(job.status.state(), v1::PENDING);
  EXPECT_EQ(job.status.submitted_unix_ms(), 50000);
}

TEST_F(JobStoreTest, NumbersGrowOverAllJobsAndAreNeverGivenTwice) {
  EXPECT_EQ(*store_->Insert(Job("a", "r1"), absl::UnixEpoch()), "a-1");
  EXPECT_EQ(*store_->Insert(Job("b", "r2"), absl::UnixEpoch()), "b-2");
  Reopen();
  EXPECT_EQ(*store_->Insert(Job("a", "r3"), absl::UnixEpoch()), "a-3");
}

TEST_F(JobStoreTest, TheSameRequestGetsTheSameJobAndAnotherSpecIsRefused) {
  ASSERT_EQ(*store_->Insert(Job("a", "r1"), absl::UnixEpoch()), "a-1");
  EXPECT_EQ(*store_->Insert(Job("a", "r1"), absl::UnixEpoch()), "a-1");
  EXPECT_EQ(store_->List(10)->size(), 1u);
  NewJob other = Job("a", "r1");
  other.spec.mutable_train()->set_steps(11);
  EXPECT_TRUE(absl::IsAlreadyExists(store_->Insert(other, absl::UnixEpoch()).status()));
  NewJob resumed = Job("a", "r1");
  resumed.resume = true;
  EXPECT_TRUE(absl::IsAlreadyExists(store_->Insert(resumed, absl::UnixEpoch()).status()));
  EXPECT_EQ(**store_->FindRequest(Job("a", "r1")), "a-1");
  EXPECT_FALSE(store_->FindRequest(Job("a", "r2"))->has_value());
}

TEST_F(JobStoreTest, AJobThatRanWhenItsCoordinatorDiedHasFailedAndOneThatWaitedStillWaits) {
  const std::string ran = *store_->Insert(Job("ran", "r1"), absl::UnixEpoch());
  const std::string waits = *store_->Insert(Job("waits", "r2"), absl::UnixEpoch());
  const std::string done = *store_->Insert(Job("done", "r3"), absl::UnixEpoch());
  SetState(ran, v1::RUNNING);
  SetState(done, v1::SUCCEEDED);
  Reopen();
  EXPECT_EQ(store_->Get(ran)->status.state(), v1::FAILED);
  EXPECT_NE(store_->Get(ran)->status.reason().find("--resume"), std::string::npos);
  EXPECT_EQ(store_->Get(ran)->status.step(), 7u);
  EXPECT_EQ(store_->Get(ran)->status.ended_unix_ms(), 100000);
  EXPECT_EQ(store_->Get(done)->status.state(), v1::SUCCEEDED);
  ASSERT_EQ(store_->Pending()->size(), 1u);
  EXPECT_EQ((*store_->Pending())[0].id, waits);
}

TEST_F(JobStoreTest, ASecondCoordinatorOnTheFolderIsRefusedNamingTheFirst) {
  const auto second = JobStore::Open(dir_, absl::UnixEpoch());
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  EXPECT_NE(second.status().message().find(absl::StrCat(getpid())), std::string::npos) << second.status();
}

TEST_F(JobStoreTest, FindsAJobByIdNamePrefixOrLast) {
  for (const char* name : {"kjv", "kjv", "digits"}) {
    ASSERT_TRUE(store_->Insert(Job(name, absl::StrCat("r", count_++)), absl::UnixEpoch()).ok());
  }
  EXPECT_EQ(*store_->Resolve("kjv-1"), "kjv-1");
  EXPECT_EQ(*store_->Resolve("kjv"), "kjv-2");
  EXPECT_EQ(*store_->Resolve("di"), "digits-3");
  EXPECT_EQ(*store_->Resolve("@last"), "digits-3");
  const absl::Status several = store_->Resolve("kj").status();
  EXPECT_TRUE(absl::IsInvalidArgument(several));
  EXPECT_EQ(several.message(), "'kj' fits several jobs: kjv-2, kjv-1; write more of it");
  const absl::Status none = store_->Resolve("x").status();
  EXPECT_TRUE(absl::IsNotFound(none));
  EXPECT_EQ(none.message(), "there is no job 'x'; the latest are digits-3, kjv-2, kjv-1");
  EXPECT_TRUE(absl::IsNotFound(store_->Resolve("").status()));
}

TEST_F(JobStoreTest, IncarnationsGrowAcrossRestarts) {
  EXPECT_EQ(*store_->NextIncarnation("w0"), 1u);
  EXPECT_EQ(*store_->NextIncarnation("w0"), 2u);
  EXPECT_EQ(*store_->NextIncarnation("w1"), 1u);
  Reopen();
  EXPECT_EQ(*store_->NextIncarnation("w0"), 3u);
}

TEST_F(JobStoreTest, ADamagedStoreIsDataLossNotACrash) {
  store_.reset();
  {
    const std::string path = dir_ + "/jobs.db";
    ASSERT_EQ(truncate(path.c_str(), 0), 0);
    FILE* file = fopen(path.c_str(), "w");
    fputs("this is no database, whatever its name says; it is long enough to have a header", file);
    fclose(file);
  }
  EXPECT_TRUE(absl::IsDataLoss(JobStore::Open(dir_, absl::UnixEpoch()).status()));
}

TEST_F(JobStoreTest, AStoreOfANewerVersionIsRefused) {
  store_.reset();
  {
    auto database = SqliteDatabase::Open(dir_ + "/jobs.db");
    ASSERT_TRUE(database->Exec("PRAGMA user_version=99").ok());
  }
  EXPECT_TRUE(absl::IsFailedPrecondition(JobStore::Open(dir_, absl::UnixEpoch()).status()));
}

}  // namespace
}  // namespace penstock

#include "common/checkpoint/checkpoint_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/common/checkpoint/sample_checkpoint.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

void Damage(const std::string& file) {
  std::string contents = Slurp(file);
  contents.back() ^= 1;
  Spill(file, contents);
}

TEST(CommitCheckpointTest, MakesACheckpointOfATemporaryFolder) {
  const ScratchDir dir;
  const std::string temporary = TemporaryCheckpointPath(dir.path(), 10, 3);
  EXPECT_EQ(temporary, dir / "step-10.tmp-3");
  const Manifest manifest = WriteRanks(temporary, 10);
  const auto info = CommitCheckpoint(temporary, manifest);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->path(), dir / "step-10");
  EXPECT_EQ(info->step(), 10u);
  EXPECT_EQ(info->bytes(), manifest.Bytes());
  EXPECT_FALSE(std::filesystem::exists(temporary));
  const auto verified = VerifyCheckpoint(info->path());
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->sha256, info->sha256());
}

TEST(CommitCheckpointTest, RefusesAFolderThatIsNotWhatTheManifestSays) {
  const ScratchDir dir;
  const std::string temporary = TemporaryCheckpointPath(dir.path(), 10, 3);
  const Manifest manifest = WriteRanks(temporary, 10);
  Manifest other = manifest;
  other.step = 11;
  EXPECT_TRUE(absl::IsInvalidArgument(CommitCheckpoint(temporary, other).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(CommitCheckpoint(dir / "step-10", manifest).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(CommitCheckpoint(dir / "elsewhere", manifest).status()));
  other = manifest;
  other.files[1].bytes += 1;
  EXPECT_TRUE(absl::IsFailedPrecondition(CommitCheckpoint(temporary, other).status()));
  Spill(temporary + "/stranger", "x");
  const auto stranger = CommitCheckpoint(temporary, manifest);
  EXPECT_TRUE(absl::IsFailedPrecondition(stranger.status()));
  EXPECT_THAT(stranger.status().message(), HasSubstr("stranger"));
  std::filesystem::remove(temporary + "/stranger");
  std::filesystem::remove(temporary + "/rank-0.safetensors");
  const auto missing = CommitCheckpoint(temporary, manifest);
  EXPECT_TRUE(absl::IsFailedPrecondition(missing.status()));
  EXPECT_THAT(missing.status().message(), HasSubstr("rank-0.safetensors: is missing"));
  EXPECT_THAT(ListCheckpoints(dir.path()).value(), IsEmpty());
}

TEST(CommitCheckpointTest, ATensorInTwoRanksFilesIsRefused) {
  const ScratchDir dir;
  const std::string temporary = TemporaryCheckpointPath(dir.path(), 10, 3);
  Manifest manifest = WriteRanks(temporary, 10);
  manifest.files[1].tensors = manifest.files[0].tensors;
  const auto info = CommitCheckpoint(temporary, manifest);
  EXPECT_TRUE(absl::IsInvalidArgument(info.status()));
  EXPECT_THAT(info.status().message(), HasSubstr("in two files"));
}

TEST(CommitCheckpointTest, TheSameStepAgainReplacesTheOlderOne) {
  const ScratchDir dir;
  MakeCheckpoint(dir.path(), 10);
  const std::string temporary = TemporaryCheckpointPath(dir.path(), 10, 4);
  Manifest manifest = WriteRanks(temporary, 10);
  manifest.job = "kjv-2";
  ASSERT_TRUE(CommitCheckpoint(temporary, manifest).ok());
  EXPECT_THAT(ListDir(dir.path()).value(), ElementsAre("step-10"));
  EXPECT_EQ(VerifyCheckpoint(dir / "step-10")->job, "kjv-2");
}

TEST(ListCheckpointsTest, NewestFirstByNumberAndOnlyWhatIsACheckpoint) {
  const ScratchDir dir;
  for (const uint64_t step : {9, 100, 20}) MakeCheckpoint(dir.path(), step);
  WriteRanks(TemporaryCheckpointPath(dir.path(), 200, 1), 200);
  for (const char* name : {"step-", "step-x", "step-007", "step--1", "notes", "step-99999999999999999999"}) {
    std::filesystem::create_directory(dir / name);
  }
  const auto entries = ListCheckpoints(dir.path());
  ASSERT_TRUE(entries.ok());
  std::vector<uint64_t> steps;
  for (const CheckpointEntry& entry : *entries) {
    steps.push_back(entry.info.step());
    EXPECT_TRUE(entry.status.ok()) << entry.status;
    EXPECT_EQ(entry.job, "kjv-1");
    EXPECT_GT(entry.info.bytes(), 0u);
  }
  EXPECT_THAT(steps, ElementsAre(100, 20, 9));
  EXPECT_THAT(ListCheckpoints(dir / "missing").value(), IsEmpty());
}

TEST(ListCheckpointsTest, SaysWhichAreDamagedWithoutReadingThem) {
  const ScratchDir dir;
  MakeCheckpoint(dir.path(), 1);
  MakeCheckpoint(dir.path(), 2);
  MakeCheckpoint(dir.path(), 3);
  std::filesystem::resize_file(dir / "step-2/rank-0.safetensors", 20);
  std::filesystem::remove(dir / "step-3/MANIFEST.json");
  std::filesystem::rename(dir / "step-1", dir / "step-4");
  const std::vector<CheckpointEntry> entries = ListCheckpoints(dir.path()).value();
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_THAT(entries[0].status.message(), HasSubstr("its manifest is of step 1"));
  EXPECT_EQ(entries[0].info.step(), 4u);
  EXPECT_TRUE(absl::IsNotFound(entries[1].status));
  EXPECT_THAT(entries[2].status.message(), HasSubstr("rank-0.safetensors: has 20 bytes"));
}

TEST(VerifyCheckpointTest, EveryFlippedBitOfEveryFileIsReported) {
  const ScratchDir dir;
  const std::string path = MakeCheckpoint(dir.path(), 10);
  for (const std::string name : {"rank-0.safetensors", "rank-1.safetensors"}) {
    const std::string file = path + "/" + name, whole = Slurp(file);
    for (size_t byte = 0; byte < whole.size(); ++byte) {
      std::string flipped = whole;
      flipped[byte] ^= static_cast<char>(1 << (byte % 8));
      Spill(file, flipped);
      const auto verified = VerifyCheckpoint(path);
      ASSERT_TRUE(absl::IsDataLoss(verified.status())) << name << " byte " << byte << ": " << verified.status();
      ASSERT_THAT(verified.status().message(), HasSubstr(name));
    }
    Spill(file, whole);
  }
  EXPECT_TRUE(VerifyCheckpoint(path).ok());
}

TEST(VerifyCheckpointTest, EveryTruncationOfEveryFileIsReported) {
  const ScratchDir dir;
  const std::string path = MakeCheckpoint(dir.path(), 10);
  for (const std::string name : {"rank-0.safetensors", "MANIFEST.json"}) {
    const std::string file = path + "/" + name, whole = Slurp(file);
    for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
      Spill(file, whole.substr(0, bytes));
      ASSERT_TRUE(absl::IsDataLoss(VerifyCheckpoint(path).status())) << name << " " << bytes;
    }
    Spill(file, whole);
  }
}

TEST(NewestCompleteTest, FallsBackToTheNextOlderAndSaysSo) {
  const ScratchDir dir;
  for (const uint64_t step : {10, 20, 30}) MakeCheckpoint(dir.path(), step);
  EXPECT_EQ(NewestComplete(dir.path())->path, dir / "step-30");
  Damage(dir / "step-30/rank-1.safetensors");
  std::filesystem::remove(dir / "step-20/rank-0.safetensors");
  const auto found = NewestComplete(dir.path());
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->path, dir / "step-10");
  EXPECT_EQ(found->manifest.step, 10u);
  EXPECT_THAT(found->skipped, ElementsAre(HasSubstr("step-30/rank-1.safetensors: tensor 'fc.bias'"),
                                          HasSubstr("step-20/rank-0.safetensors: is missing")));
}

TEST(NewestCompleteTest, SaysWhatIsWrongWhenNoneIsLeft) {
  const ScratchDir dir;
  const auto none = NewestComplete(dir.path());
  EXPECT_TRUE(absl::IsNotFound(none.status()));
  EXPECT_THAT(none.status().message(), HasSubstr("holds no checkpoint"));
  MakeCheckpoint(dir.path(), 10);
  Damage(dir / "step-10/rank-1.safetensors");
  const auto damaged = NewestComplete(dir.path());
  EXPECT_TRUE(absl::IsNotFound(damaged.status()));
  EXPECT_THAT(damaged.status().message(), HasSubstr("tensor 'fc.bias'"));
}

TEST(PruneCheckpointsTest, KeepsTheNewestAndAtLeastTwo) {
  const ScratchDir dir;
  for (const uint64_t step : {1, 2, 3, 4, 5}) MakeCheckpoint(dir.path(), step);
  EXPECT_THAT(PruneCheckpoints(dir.path(), 3).value(), ElementsAre(dir / "step-2", dir / "step-1"));
  EXPECT_THAT(PruneCheckpoints(dir.path(), 3).value(), IsEmpty());
  EXPECT_THAT(PruneCheckpoints(dir.path(), 0).value(), ElementsAre(dir / "step-3"));
  EXPECT_THAT(ListDir(dir.path()).value(), ElementsAre("step-4", "step-5"));
}

TEST(PruneCheckpointsTest, RemovesNothingWhileNoneIsWhole) {
  const ScratchDir dir;
  for (const uint64_t step : {1, 2, 3}) {
    MakeCheckpoint(dir.path(), step);
    Damage(CheckpointPath(dir.path(), step) + "/rank-1.safetensors");
  }
  const auto pruned = PruneCheckpoints(dir.path(), 2);
  EXPECT_TRUE(absl::IsDataLoss(pruned.status()));
  EXPECT_THAT(pruned.status().message(), HasSubstr("step-3/rank-1.safetensors"));
  EXPECT_EQ(ListDir(dir.path())->size(), 3u);
}

// A run that went on from an older checkpoint, since the newest was damaged, once kept all it wrote from then on.
TEST(PruneCheckpointsTest, ADamagedNewestNeitherCountsNorStopsThePruning) {
  const ScratchDir dir;
  for (const uint64_t step : {1, 2, 3, 9}) MakeCheckpoint(dir.path(), step);
  Damage(dir / "step-9/rank-1.safetensors");
  EXPECT_THAT(PruneCheckpoints(dir.path(), 2).value(), ElementsAre(dir / "step-1"));
  EXPECT_THAT(ListDir(dir.path()).value(), ElementsAre("step-2", "step-3", "step-9"));
}

TEST(PruneCheckpointsTest, DamagedOnesDoNotCount) {
  const ScratchDir dir;
  for (const uint64_t step : {1, 2, 3, 4}) MakeCheckpoint(dir.path(), step);
  std::filesystem::remove(dir / "step-3/rank-1.safetensors");
  EXPECT_THAT(PruneCheckpoints(dir.path(), 2).value(), ElementsAre(dir / "step-1"));
  EXPECT_THAT(ListDir(dir.path()).value(), ElementsAre("step-2", "step-3", "step-4"));
}

TEST(CleanTemporaryTest, RemovesWhatInterruptionsLeftAndNothingElse) {
  const ScratchDir dir;
  MakeCheckpoint(dir.path(), 1);
  WriteRanks(TemporaryCheckpointPath(dir.path(), 2, 1), 2);
  std::filesystem::create_directory(dir / "step-3.tmp-removed");
  Spill(dir / "my-notes.tmp-1", "");
  EXPECT_THAT(CleanTemporary(dir.path()).value(),
              UnorderedElementsAre(dir / "step-2.tmp-1", dir / "step-3.tmp-removed"));
  EXPECT_THAT(ListDir(dir.path()).value(), ElementsAre("my-notes.tmp-1", "step-1"));
  EXPECT_THAT(CleanTemporary(dir / "missing").value(), IsEmpty());
}

TEST(CheckFolderTakesFilesTest, LooksAtAFolderThatIsNotThereYetAndLeavesNothing) {
  const ScratchDir dir;
  EXPECT_TRUE(CheckFolderTakesFiles(dir / "new/folder").ok());
  EXPECT_TRUE(CheckFolderTakesFiles(dir.path()).ok());
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  const absl::Status refused = CheckFolderTakesFiles("/proc/none/inside");
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()),
              ::testing::StartsWith("no checkpoint can be written to /proc/none/inside"));
}

}  // namespace
}  // namespace penstock

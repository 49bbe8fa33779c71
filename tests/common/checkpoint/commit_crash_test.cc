// A commit that is interrupted at every system call that changes the disk. This program's own rename, fsync and so on
// stand in front of the system's: they count, and end the process or fail where a test wants it.
#include <dlfcn.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "common/checkpoint/checkpoint_dir.h"
#include "tests/common/checkpoint/sample_checkpoint.h"

namespace {

int calls = 0;        // that change the disk, since the last reset
int die_before = -1;  // the number of the call before which the process ends
int fail_at = -1;     // the number of the call that fails with fail_with
int fail_with = 0;
std::vector<std::string>* trace = nullptr;

template <typename Function>
Function* System(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

std::string NameOf(int fd) {
  char link[64], target[512];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t bytes = ::readlink(link, target, sizeof(target));
  const std::string path(target, bytes > 0 ? static_cast<size_t>(bytes) : 0);
  return path.substr(path.rfind('/') + 1);
}

std::string Base(const char* path) {
  const std::string text(path);
  return text.substr(text.rfind('/') + 1);
}

// Whether the call is to fail; ends the process if it is to.
bool Count(const std::string& what) {
  if (trace != nullptr) trace->push_back(what);
  const int number = calls++;
  if (number == die_before) ::_exit(99);
  if (number != fail_at) return false;
  errno = fail_with;
  return true;
}

}  // namespace

extern "C" {

int rename(const char* from, const char* to) noexcept {
  if (Count("rename " + Base(from) + " " + Base(to))) return -1;
  return System<int(const char*, const char*)>("rename")(from, to);
}

int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) noexcept {
  if (Count("exchange " + Base(from) + " " + Base(to))) return -1;
  return System<int(int, const char*, int, const char*, unsigned)>("renameat2")(from_dir, from, to_dir, to, flags);
}

int fsync(int fd) {
  if (Count("fsync " + NameOf(fd))) return -1;
  return System<int(int)>("fsync")(fd);
}

int fdatasync(int fd) {
  if (Count("fdatasync " + NameOf(fd))) return -1;
  return System<int(int)>("fdatasync")(fd);
}

int unlinkat(int dir, const char* name, int flags) noexcept {
  if (Count("unlinkat " + Base(name))) return -1;
  return System<int(int, const char*, int)>("unlinkat")(dir, name, flags);
}

}  // extern "C"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::MatchesRegex;

// Runs `action` in a process that ends before its n-th change; whether it got to its end.
template <typename Action>
bool RunUntilCall(int n, const Action& action) {
  const pid_t child = ::fork();
  if (child == 0) {
    calls = 0;
    die_before = n;
    action();
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 99)) << status;
  return WEXITSTATUS(status) == 0;
}

// What every interruption must leave: the checkpoint of `older` or that of `newer`, whole, and nothing that the
// cleaning leaves behind.
void ExpectOneOfBoth(const std::string& dir, uint64_t older, uint64_t newer, const std::string& when) {
  const auto found = NewestComplete(dir);
  ASSERT_TRUE(found.ok()) << when << ": " << found.status();
  EXPECT_TRUE(found->manifest.step == older || found->manifest.step == newer) << when;
  EXPECT_TRUE(found->skipped.empty()) << when << ": " << found->skipped.front();
  ASSERT_TRUE(CleanTemporary(dir).ok()) << when;
  const auto again = NewestComplete(dir);
  ASSERT_TRUE(again.ok()) << when << ": " << again.status();
  EXPECT_EQ(again->path, found->path) << when;
  const std::vector<std::string> names = ListDir(dir).value();
  for (const std::string& name : names) EXPECT_EQ(name.find("tmp"), std::string::npos) << when;
}

TEST(CommitTest, SyncsEachThingBeforeTheNextDependsOnIt) {
  const ScratchDir dir;
  const std::string temporary = TemporaryCheckpointPath(dir.path(), 10, 3);
  const Manifest manifest = WriteRanks(temporary, 10);
  std::vector<std::string> seen;
  trace = &seen;
  const auto info = CommitCheckpoint(temporary, manifest);
  trace = nullptr;
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_THAT(seen, ElementsAre(MatchesRegex("fdatasync MANIFEST.json.partial-.*"),
                                MatchesRegex("rename MANIFEST.json.partial-.* MANIFEST.json"), "fsync step-10.tmp-3",
                                "rename step-10.tmp-3 step-10", "fsync " + BaseName(dir.path())));
}

TEST(CommitTest, ARankSyncsItsFileAndTheFolder) {
  const ScratchDir dir;
  const float value = 1;
  std::vector<std::string> seen;
  trace = &seen;
  const auto written = WriteSafetensors(dir / "rank-0.safetensors", {{"x", "F32", {}, &value}});
  trace = nullptr;
  ASSERT_TRUE(written.ok());
  EXPECT_THAT(
      seen, ElementsAre("fdatasync rank-0.safetensors.partial", "rename rank-0.safetensors.partial rank-0.safetensors",
                        "fsync " + BaseName(dir.path())));
}

TEST(CommitTest, AProcessKilledAtAnyPointLeavesTheOldOrTheNewCheckpoint) {
  bool finished = false;
  for (int n = 0; !finished; ++n) {
    const ScratchDir dir;
    MakeCheckpoint(dir.path(), 5);
    const std::string temporary = TemporaryCheckpointPath(dir.path(), 10, 1);
    finished = RunUntilCall(n, [&] { (void)CommitCheckpoint(temporary, WriteRanks(temporary, 10)); });
    ExpectOneOfBoth(dir.path(), 5, 10, absl::StrCat("killed before call ", n));
    if (finished) {
      EXPECT_EQ(NewestComplete(dir.path())->manifest.step, 10u);
      EXPECT_GT(n, 5);
    }
  }
}

TEST(CommitTest, ReplacingACheckpointOfTheSameStepIsSafeAtAnyPoint) {
  bool finished = false;
  for (int n = 0; !finished; ++n) {
    const ScratchDir dir;
    MakeCheckpoint(dir.path(), 10);
    const std::string temporary = TemporaryCheckpointPath(dir.path(), 10, 2);
    finished = RunUntilCall(n, [&] {
      Manifest manifest = WriteRanks(temporary, 10);
      manifest.job = "kjv-2";
      (void)CommitCheckpoint(temporary, manifest);
    });
    ExpectOneOfBoth(dir.path(), 10, 10, absl::StrCat("killed before call ", n));
    if (finished) {
      EXPECT_EQ(NewestComplete(dir.path())->manifest.job, "kjv-2");
    }
  }
}

TEST(CommitTest, AFailingDiskIsReportedAndLeavesTheOldOrTheNewCheckpoint) {
  for (const int error : {EIO, ENOSPC}) {
    bool failed = true;
    for (int n = 0; failed; ++n) {
      const ScratchDir dir;
      MakeCheckpoint(dir.path(), 5);
      const std::string temporary = TemporaryCheckpointPath(dir.path(), 10, 1);
      const Manifest manifest = WriteRanks(temporary, 10);
      calls = 0;
      fail_at = n;
      fail_with = error;
      const auto info = CommitCheckpoint(temporary, manifest);
      fail_at = -1;
      failed = n < calls;
      EXPECT_EQ(info.ok(), !failed) << n;
      if (failed) {
        EXPECT_EQ(info.status().code(),
                  error == ENOSPC ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kUnavailable);
      }
      ExpectOneOfBoth(dir.path(), 5, 10, absl::StrCat("call ", n, " failed"));
    }
  }
}

TEST(CommitTest, AReplacedCheckpointThatCannotBeRemovedIsNoFailureOfTheNewOne) {
  // The new checkpoint was complete, and was called failed because the old one could not be taken apart.
  const auto replace = [](const ScratchDir& dir, int failing_call) {
    MakeCheckpoint(dir.path(), 10);
    const std::string temporary = TemporaryCheckpointPath(dir.path(), 10, 2);
    Manifest manifest = WriteRanks(temporary, 10);
    manifest.job = "kjv-2";
    std::vector<std::string> seen;
    calls = 0;
    fail_at = failing_call;
    fail_with = EIO;
    trace = &seen;
    const auto info = CommitCheckpoint(temporary, manifest);
    trace = nullptr;
    fail_at = -1;
    EXPECT_TRUE(info.ok()) << info.status();
    return seen;
  };
  const ScratchDir whole, failing;
  const std::vector<std::string> seen = replace(whole, -1);
  const auto removal =
      std::find_if(seen.begin(), seen.end(), [](const std::string& call) { return call.rfind("unlinkat", 0) == 0; });
  ASSERT_NE(removal, seen.end());
  replace(failing, static_cast<int>(removal - seen.begin()));
  EXPECT_EQ(NewestComplete(failing.path())->manifest.job, "kjv-2");
  EXPECT_EQ(CleanTemporary(failing.path())->size(), 1u) << "what was left goes later";
}

TEST(PruneTest, AProcessKilledWhilePruningLeavesNoHalfCheckpoint) {
  bool finished = false;
  for (int n = 0; !finished; ++n) {
    const ScratchDir dir;
    for (const uint64_t step : {1, 2, 3, 4}) MakeCheckpoint(dir.path(), step);
    finished = RunUntilCall(n, [&] { (void)PruneCheckpoints(dir.path(), 2); });
    const std::vector<CheckpointEntry> entries = ListCheckpoints(dir.path()).value();
    for (const CheckpointEntry& entry : entries) {
      EXPECT_TRUE(entry.status.ok()) << "killed before call " << n << ": " << entry.status;
    }
    ExpectOneOfBoth(dir.path(), 4, 4, absl::StrCat("killed before call ", n));
  }
}

}  // namespace
}  // namespace penstock

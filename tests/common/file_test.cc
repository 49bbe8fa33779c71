#include "common/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/sha256.h"
#include "tests/common/scratch_dir.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(PathTest, JoinsAndTakesApart) {
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
  EXPECT_EQ(JoinPath("", "b"), "b");
  EXPECT_EQ(JoinPath("a", "/b"), "/b");
  EXPECT_EQ(ParentPath("a/b/c"), "a/b");
  EXPECT_EQ(ParentPath("a/b/"), "a");
  EXPECT_EQ(ParentPath("/a"), "/");
  EXPECT_EQ(ParentPath("/"), "/");
  EXPECT_EQ(ParentPath("a"), ".");
  EXPECT_EQ(BaseName("a/b/"), "b");
  EXPECT_EQ(BaseName("a"), "a");
}

TEST(PathTest, APlainNameCannotLeaveItsFolder) {
  EXPECT_TRUE(IsPlainName("rank-0.safetensors"));
  EXPECT_TRUE(IsPlainName("..."));
  for (const std::string& name : {std::string(""), std::string("."), std::string(".."), std::string("a/b"),
                                  std::string("/a"), std::string("a\0b", 3)}) {
    EXPECT_FALSE(IsPlainName(name)) << name;
  }
}

TEST(FileErrorTest, CodesSayWhatToDo) {
  EXPECT_EQ(FileError(ENOENT, "/x", "open").ToString(), "NOT_FOUND: /x: cannot open: No such file or directory");
  EXPECT_TRUE(absl::IsResourceExhausted(FileError(ENOSPC, "/x", "write")));
  EXPECT_TRUE(absl::IsAlreadyExists(FileError(EEXIST, "/x", "create")));
  EXPECT_TRUE(absl::IsUnavailable(FileError(EIO, "/x", "read")));
}

TEST(ReadFileTest, ReadsWhatIsThereUpToALimit) {
  const ScratchDir dir;
  const std::string contents("some\0bytes\xff", 11);
  Spill(dir / "f", contents);
  EXPECT_EQ(ReadFile(dir / "f", 11).value(), contents);
  const auto too_large = ReadFile(dir / "f", 10);
  EXPECT_TRUE(absl::IsResourceExhausted(too_large.status()));
  EXPECT_THAT(too_large.status().message(), HasSubstr("11 bytes"));
}

TEST(ReadFileTest, RefusesWhatIsNotAFile) {
  const ScratchDir dir;
  EXPECT_TRUE(absl::IsNotFound(ReadFile(dir / "missing", 10).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ReadFile(dir.path(), 10).status()));
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(ReadFile(dir / "pipe", 10).status()));
}

TEST(WriteFileAtomicallyTest, ReplacesTheContentsAndLeavesNothingElse) {
  const ScratchDir dir;
  ASSERT_TRUE(WriteFileAtomically(dir / "f", "old").ok());
  ASSERT_TRUE(WriteFileAtomically(dir / "f", "newer").ok());
  EXPECT_EQ(Slurp(dir / "f"), "newer");
  EXPECT_THAT(ListDir(dir.path()).value(), ElementsAre("f"));
}

TEST(WriteFileAtomicallyTest, AFailureKeepsTheOldContentsAndLeavesNothingElse) {
  const ScratchDir dir;
  Spill(dir / "f", "old");
  // In a child process, whose files may have at most 1000 bytes: the write fails half-way, as on a full disk.
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const absl::Status status = WriteFileAtomically(dir / "f", std::string(5000, 'x'));
    ::_exit(absl::IsResourceExhausted(status) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(Slurp(dir / "f"), "old");
  EXPECT_THAT(ListDir(dir.path()).value(), ElementsAre("f"));
}

TEST(WriteFileAtomicallyTest, ReportsAFolderThatIsMissing) {
  const ScratchDir dir;
  EXPECT_TRUE(absl::IsNotFound(WriteFileAtomically(dir / "no/f", "x")));
}

TEST(MakeDirsTest, CreatesAllThatAreMissingAndAcceptsThoseThatAreThere) {
  const ScratchDir dir;
  ASSERT_TRUE(MakeDirs(dir / "a/b/c").ok());
  ASSERT_TRUE(MakeDirs(dir / "a/b/c").ok());
  ASSERT_TRUE(MakeDirs(dir / "a/b/d/").ok());
  EXPECT_THAT(ListDir(dir / "a/b").value(), ElementsAre("c", "d"));
}

TEST(MakeDirsTest, ReportsAFileInTheWay) {
  const ScratchDir dir;
  Spill(dir / "a", "");
  EXPECT_TRUE(absl::IsAlreadyExists(MakeDirs(dir / "a")));
  EXPECT_TRUE(absl::IsNotFound(MakeDirs(dir / "a/b")));
}

TEST(RemoveTreeTest, RemovesAllAndFollowsNoLink) {
  const ScratchDir dir;
  ASSERT_TRUE(MakeDirs(dir / "kept").ok());
  Spill(dir / "kept/f", "x");
  ASSERT_TRUE(MakeDirs(dir / "gone/deep").ok());
  Spill(dir / "gone/deep/f", "x");
  ASSERT_EQ(::symlink((dir / "kept").c_str(), (dir / "gone/link").c_str()), 0);
  ASSERT_TRUE(RemoveTree(dir / "gone").ok());
  EXPECT_TRUE(RemoveTree(dir / "gone").ok());
  EXPECT_FALSE(FileExists(dir / "gone"));
  EXPECT_EQ(Slurp(dir / "kept/f"), "x");
}

TEST(FileTest, ExclusiveCreationRefusesWhatIsThere) {
  const ScratchDir dir;
  Spill(dir / "f", "x");
  ASSERT_EQ(::symlink((dir / "nowhere").c_str(), (dir / "dangling").c_str()), 0);
  EXPECT_TRUE(absl::IsAlreadyExists(File::CreateExclusive(dir / "f").status()));
  EXPECT_TRUE(absl::IsAlreadyExists(File::CreateExclusive(dir / "dangling").status()));
}

TEST(FileTest, AppendsAndReadsAnywhere) {
  const ScratchDir dir;
  for (const std::string part : {"abc", "def"}) {
    File file = File::OpenToAppend(dir / "f").value();
    ASSERT_TRUE(file.Write(part.data(), part.size()).ok());
    ASSERT_TRUE(file.Sync().ok());
    ASSERT_TRUE(file.Close().ok());
  }
  const File file = File::OpenToRead(dir / "f").value();
  EXPECT_EQ(file.Bytes().value(), 6u);
  char out[3];
  ASSERT_TRUE(file.ReadAt(2, out, 3).ok());
  EXPECT_EQ(std::string(out, 3), "cde");
  const absl::Status beyond = file.ReadAt(4, out, 3);
  EXPECT_TRUE(absl::IsDataLoss(beyond));
  EXPECT_THAT(beyond.message(), HasSubstr("ends at byte 6"));
}

TEST(FileLockTest, OneHolderAtATime) {
  const ScratchDir dir;
  {
    const FileLock lock = FileLock::Acquire(dir / "lock").value();
    const auto second = FileLock::Acquire(dir / "lock");
    EXPECT_TRUE(absl::IsFailedPrecondition(second.status()));
    EXPECT_THAT(second.status().message(), HasSubstr("process " + std::to_string(::getpid())));
  }
  EXPECT_TRUE(FileLock::Acquire(dir / "lock").ok());
}

TEST(FileLockTest, AKilledHolderHoldsNothing) {
  const ScratchDir dir;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto lock = FileLock::Acquire(dir / "lock");
    if (!lock.ok() || ::write(ready[1], "x", 1) != 1) ::_exit(1);
    while (true) ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const auto refused = FileLock::Acquire(dir / "lock");
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status()));
  EXPECT_THAT(refused.status().message(), HasSubstr("process " + std::to_string(child)));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(FileLock::Acquire(dir / "lock").ok());
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(FileLockTest, AChildGoesOnWithTheLockOfItsParent) {
  // A program that starts another one for a folder held nothing until that one had started: both could write there.
  const ScratchDir dir;
  int ready[2], end[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(end), 0);
  auto lock = std::make_optional(FileLock::Acquire(dir / "lock").value());
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(end[1]);
    const auto inherited = FileLock::Inherit(dir / "lock", lock->descriptor());
    char byte;
    if (!inherited.ok() || ::write(ready[1], "x", 1) != 1 || ::read(end[0], &byte, 1) != 0) ::_exit(1);
    ::_exit(0);
  }
  ::close(ready[1]);
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  lock.reset();
  const auto refused = FileLock::Acquire(dir / "lock");
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status()));
  EXPECT_THAT(refused.status().message(), HasSubstr("process " + std::to_string(child)));
  ::close(end[1]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(FileLock::Acquire(dir / "lock").ok());
  for (const int fd : {ready[0], end[0]}) ::close(fd);
}

TEST(FileLockTest, InheritsNothingButTheFileItself) {
  const ScratchDir dir;
  const FileLock other = FileLock::Acquire(dir / "other").value();
  { const FileLock there = FileLock::Acquire(dir / "lock").value(); }
  for (const int fd : {other.descriptor(), 1000}) {
    EXPECT_TRUE(absl::IsInvalidArgument(FileLock::Inherit(dir / "lock", fd).status())) << fd;
  }
}

TEST(Sha256Test, MatchesTheStandardsVectors) {
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 in_parts;
  in_parts.Update("a", 1);
  in_parts.Update("bc", 2);
  EXPECT_EQ(in_parts.HexDigest(), Sha256Hex("abc"));
}

}  // namespace
}  // namespace penstock

// What a ring is, who may map it, and what is refused before it is touched.
#include "worker/runtime/shared_ring.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>

namespace penstock {
namespace {

constexpr int kSlots = 3;

absl::StatusCode OpenCode(const v1::SharedRing& offer) { return SharedRing::Open(offer).status().code(); }

TEST(SharedRingTest, WhatOneEndWritesTheOtherReads) {
  const auto made = SharedRing::Create(kSlots);
  ASSERT_TRUE(made.ok()) << made.status();
  const auto opened = SharedRing::Open((*made)->offer());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ((*opened)->slots(), kSlots);
  for (int i = 0; i < kSlots; ++i) {
    ASSERT_NE((*made)->slot(i), (*opened)->slot(i));
    std::memset((*opened)->slot(i), 'a' + i, limits::kPieceBytes);
  }
  for (int i = 0; i < kSlots; ++i) {
    EXPECT_EQ(std::string((*made)->slot(i), limits::kPieceBytes), std::string(limits::kPieceBytes, 'a' + i));
  }
}

TEST(SharedRingTest, AnotherProcessMapsIt) {
  const auto made = SharedRing::Create(kSlots);
  ASSERT_TRUE(made.ok()) << made.status();
  const pid_t child = fork();
  if (child == 0) {
    const auto opened = SharedRing::Open((*made)->offer());
    if (opened.ok()) std::memset((*opened)->slot(1), 'c', limits::kPieceBytes);
    _exit(opened.ok() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_EQ(std::string((*made)->slot(1), limits::kPieceBytes), std::string(limits::kPieceBytes, 'c'));
}

// It has no name: nothing is left behind, however its owner ends.
TEST(SharedRingTest, IsGoneWithItsOwner) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto made = SharedRing::Create(kSlots);
    const std::string offer = made.ok() ? (*made)->offer().SerializeAsString() : "";
    const bool written = write(pipe_fds[1], offer.data(), offer.size()) == static_cast<ssize_t>(offer.size());
    if (written) pause();
    _exit(1);
  }
  char offer_bytes[256];
  const ssize_t got = read(pipe_fds[0], offer_bytes, sizeof(offer_bytes));
  v1::SharedRing offer;
  ASSERT_TRUE(got > 0 && offer.ParseFromArray(offer_bytes, static_cast<int>(got)));
  EXPECT_TRUE(SharedRing::Open(offer).ok());
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_EQ(OpenCode(offer), absl::StatusCode::kNotFound);
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

TEST(SharedRingTest, ItsOwnerCannotCutItOff) {
  const auto made = SharedRing::Create(kSlots);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_NE(ftruncate(static_cast<int>((*made)->offer().fd()), 0), 0);
}

TEST(SharedRingTest, RefusesAnOfferOfAnotherRing) {
  const auto made = SharedRing::Create(kSlots);
  ASSERT_TRUE(made.ok()) << made.status();
  v1::SharedRing offer = (*made)->offer();
  offer.set_nonce(offer.nonce() + 1);
  EXPECT_EQ(OpenCode(offer), absl::StatusCode::kInvalidArgument);
  for (const uint32_t slots : {0u, 2u, 4u, 1u << 31}) {
    offer = (*made)->offer();
    offer.set_slots(slots);
    EXPECT_EQ(OpenCode(offer), absl::StatusCode::kInvalidArgument) << slots;
  }
  offer = (*made)->offer();
  offer.set_process(0);
  EXPECT_EQ(OpenCode(offer), absl::StatusCode::kInvalidArgument);
  offer = (*made)->offer();
  offer.set_fd(100'000);
  EXPECT_EQ(OpenCode(offer), absl::StatusCode::kNotFound);
}

TEST(SharedRingTest, RefusesWhatIsNoRing) {
  const auto made = SharedRing::Create(kSlots);
  ASSERT_TRUE(made.ok()) << made.status();
  v1::SharedRing offer = (*made)->offer();
  // The right size, but it could shrink under its reader.
  const int file = memfd_create("file", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(file, 4096 + kSlots * static_cast<off_t>(limits::kPieceBytes)), 0);
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const int null = open("/dev/null", O_RDWR);
  for (const int fd : {file, pipe_fds[0], null}) {
    offer.set_fd(static_cast<uint32_t>(fd));
    EXPECT_EQ(OpenCode(offer), absl::StatusCode::kInvalidArgument) << fd;
    close(fd);
  }
  close(pipe_fds[1]);
}

TEST(SharedRingTest, GivesOutTheLowestFreeSlotAndTakesBackOnlyWhatIsTaken) {
  auto made = SharedRing::Create(kSlots);
  ASSERT_TRUE(made.ok()) << made.status();
  RingWriter writer(*std::move(made));
  EXPECT_EQ(writer.Take(), 0u);
  EXPECT_EQ(writer.Take(), 1u);
  EXPECT_EQ(writer.Take(), 2u);
  EXPECT_EQ(writer.Take(), std::nullopt);
  EXPECT_TRUE(writer.GiveBack(1).ok());
  EXPECT_EQ(writer.GiveBack(1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(writer.GiveBack(kSlots).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(writer.Take(), 1u);
}

TEST(SharedRingTest, ThisHostHasABootId) { EXPECT_EQ(BootId().size(), 36u); }

}  // namespace
}  // namespace penstock

// Under --config=tsan: the race detector knows Abseil's locks (tsan_absl.cc),
// and still finds a race. In an ordinary run the first half holds trivially.
#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace {

// Runs `first` on a thread of its own and `second` here, and waits for both.
void Both(const std::function<void()>& first, const std::function<void()>& second) {
  std::thread other(first);
  second();
  other.join();
}

TEST(TsanTest, LockOrdersTwoThreads) {
  absl::Mutex mu;
  int value = 0;
  const auto add = [&] {
    for (int i = 0; i < 1000; ++i) {
      absl::MutexLock lock(&mu);
      ++value;
    }
  };
  Both(add, add);
  EXPECT_EQ(value, 2000);
}

TEST(TsanTest, ReadersAndWriterAreOrdered) {
  absl::Mutex mu;
  int value = 0;
  int seen = 0;
  Both(
      [&] {
        absl::WriterMutexLock lock(&mu);
        value = 1;
      },
      [&] {
        absl::ReaderMutexLock lock(&mu);
        seen = value;
      });
  EXPECT_LE(seen, 1);
}

TEST(TsanTest, TryLockOrders) {
  absl::Mutex mu;
  int value = 0;
  const auto add = [&] {
    while (!mu.TryLock()) std::this_thread::yield();
    ++value;
    mu.Unlock();
  };
  Both(add, add);
  EXPECT_EQ(value, 2);
}

TEST(TsanTest, AwaitAndLockWhenOrder) {
  absl::Mutex mu;
  int turn = 0;
  const auto play = [&](int mine) {
    for (int i = 0; i < 100; ++i) {
      const auto my_turn = [&] { return turn == mine; };
      if (i % 2 == 0) {
        mu.LockWhen(absl::Condition(&my_turn));
        turn = 1 - mine;
        mu.Unlock();
      } else {
        absl::MutexLock lock(&mu);
        EXPECT_TRUE(mu.AwaitWithTimeout(absl::Condition(&my_turn), absl::Minutes(1)));
        turn = 1 - mine;
      }
    }
  };
  Both([&] { play(0); }, [&] { play(1); });
  EXPECT_EQ(turn, 0);
}

TEST(TsanTest, CondVarOrders) {
  absl::Mutex mu;
  absl::CondVar changed;
  std::string value;
  std::string got;
  Both(
      [&] {
        absl::MutexLock lock(&mu);
        while (value.empty()) changed.WaitWithTimeout(&mu, absl::Minutes(1));
        got = value;
      },
      [&] {
        absl::MutexLock lock(&mu);
        value = "set";
        changed.Signal();
      });
  EXPECT_EQ(got, "set");
}

TEST(TsanTest, NotificationOrders) {
  absl::Notification first;
  absl::Notification second;
  std::string value;
  Both(
      [&] {
        value = "set";
        first.Notify();
        while (!second.HasBeenNotified()) std::this_thread::yield();
        value += " twice";
      },
      [&] {
        first.WaitForNotification();
        value += " again";
        second.Notify();
      });
  EXPECT_EQ(value, "set again twice");
}

TEST(TsanTest, BlockingCounterOrders) {
  absl::BlockingCounter done(1);
  std::string value;
  Both(
      [&] {
        value = "set";
        done.DecrementCount();
      },
      [&] {
        done.Wait();
        EXPECT_EQ(value, "set");
      });
}

TEST(TsanTest, StatusIsDroppedByWhicheverThreadIsLast) {
  for (int i = 0; i < 100; ++i) {
    absl::Status status = absl::InternalError("a message that lives on the heap");
    std::thread other([copy = status] { EXPECT_FALSE(copy.message().empty()); });
    EXPECT_FALSE(status.message().empty());
    status = absl::OkStatus();
    other.join();
  }
}

#ifdef __SANITIZE_THREAD__
// Without this one the tests above could pass because the detector is off.
TEST(TsanDeathTest, UnguardedFieldIsReported) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        int value = 0;
        Both([&] { ++value; }, [&] { ++value; });
      },
      "data race");
}
#endif

}  // namespace

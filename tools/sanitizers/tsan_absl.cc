// Tells the race detector about Abseil's locks.
//
// Debian's Abseil is compiled without ThreadSanitizer, so the detector does not
// see that absl::Mutex orders two threads, and would report each guarded field
// as a race. This file is linked into every program of --config=tsan. Its
// functions take the place of the library's of the same name (the program's
// symbols come first, for our code and for gRPC's alike), tell the detector
// what Abseil's own annotations would, and call the library's function. The
// pattern of the calls is that of absl/synchronization/mutex.cc, where they are
// ABSL_TSAN_MUTEX_* macros.
//
// Thread-safe. Compiled without instrumentation.
#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include <cstdio>
#include <cstdlib>

#include "absl/status/status.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "tools/sanitizers/tsan_grpc.h"

// The start of Abseil's mangled names: namespace absl, Debian's inline
// namespace.
#define PENSTOCK_ABSL "absl7debian3"

namespace {

// Returns the library's function under `name`, which ours hides. A missing name
// means another Abseil: then this file has to be compared with its mutex.cc
// again.
template <typename Function>
Function Hidden(const char* name) {
  void* found = dlsym(RTLD_NEXT, name);
  if (found == nullptr) {
    std::fprintf(stderr, "tsan_absl: the system's Abseil has no %s\n", name);
    std::abort();
  }
  return reinterpret_cast<Function>(found);
}

// mutex.cc's kMuWriter: this bit of the state says "held by a writer".
constexpr intptr_t kHeldByWriter = 0x8;

unsigned HowHeld(intptr_t state) { return (state & kHeldByWriter) != 0 ? 0 : __tsan_mutex_read_lock; }

}  // namespace

// REAL(Type, "mangled rest"): the hidden function, found once.
#define REAL(type, prefix, rest)                                       \
  (*[] {                                                               \
    static const auto found = Hidden<type>(prefix PENSTOCK_ABSL rest); \
    return found;                                                      \
  }())

namespace absl {
ABSL_NAMESPACE_BEGIN

using OnMutex = void (*)(Mutex*);
using TryOnMutex = bool (*)(Mutex*);
using WhenOnMutex = void (*)(Mutex*, const Condition&);
using WhenUntilOnMutex = bool (*)(Mutex*, const Condition&, Time);

Mutex::~Mutex() {
  __tsan_mutex_destroy(this, __tsan_mutex_not_static);
  REAL(OnMutex, "_ZN4", "5MutexD1Ev")(this);
}

void Mutex::Lock() {
  __tsan_mutex_pre_lock(this, 0);
  REAL(OnMutex, "_ZN4", "5Mutex4LockEv")(this);
  __tsan_mutex_post_lock(this, 0, 0);
  penstock::tsan::AcquireIfGrpc(__builtin_return_address(0));
}

void Mutex::Unlock() {
  penstock::tsan::ReleaseIfGrpc(__builtin_return_address(0));
  __tsan_mutex_pre_unlock(this, 0);
  REAL(OnMutex, "_ZN4", "5Mutex6UnlockEv")(this);
  __tsan_mutex_post_unlock(this, 0);
}

bool Mutex::TryLock() {
  __tsan_mutex_pre_lock(this, __tsan_mutex_try_lock);
  const bool held = REAL(TryOnMutex, "_ZN4", "5Mutex7TryLockEv")(this);
  __tsan_mutex_post_lock(this, __tsan_mutex_try_lock | (held ? 0 : __tsan_mutex_try_lock_failed), 0);
  return held;
}

void Mutex::ReaderLock() {
  __tsan_mutex_pre_lock(this, __tsan_mutex_read_lock);
  REAL(OnMutex, "_ZN4", "5Mutex10ReaderLockEv")(this);
  __tsan_mutex_post_lock(this, __tsan_mutex_read_lock, 0);
}

void Mutex::ReaderUnlock() {
  __tsan_mutex_pre_unlock(this, __tsan_mutex_read_lock);
  REAL(OnMutex, "_ZN4", "5Mutex12ReaderUnlockEv")(this);
  __tsan_mutex_post_unlock(this, __tsan_mutex_read_lock);
}

bool Mutex::ReaderTryLock() {
  const unsigned how = __tsan_mutex_read_lock | __tsan_mutex_try_lock;
  __tsan_mutex_pre_lock(this, how);
  const bool held = REAL(TryOnMutex, "_ZN4", "5Mutex13ReaderTryLockEv")(this);
  __tsan_mutex_post_lock(this, how | (held ? 0 : __tsan_mutex_try_lock_failed), 0);
  return held;
}

void Mutex::LockWhen(const Condition& cond) {
  __tsan_mutex_pre_lock(this, 0);
  REAL(WhenOnMutex, "_ZN4", "5Mutex8LockWhenERKNS0_9ConditionE")(this, cond);
  __tsan_mutex_post_lock(this, 0, 0);
}

void Mutex::ReaderLockWhen(const Condition& cond) {
  __tsan_mutex_pre_lock(this, __tsan_mutex_read_lock);
  REAL(WhenOnMutex, "_ZN4", "5Mutex14ReaderLockWhenERKNS0_9ConditionE")
  (this, cond);
  __tsan_mutex_post_lock(this, __tsan_mutex_read_lock, 0);
}

// The ...WithTimeout forms call these.
bool Mutex::LockWhenWithDeadline(const Condition& cond, Time deadline) {
  __tsan_mutex_pre_lock(this, 0);
  const bool met =
      REAL(WhenUntilOnMutex, "_ZN4", "5Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE")(this, cond, deadline);
  __tsan_mutex_post_lock(this, 0, 0);
  return met;
}

bool Mutex::ReaderLockWhenWithDeadline(const Condition& cond, Time deadline) {
  __tsan_mutex_pre_lock(this, __tsan_mutex_read_lock);
  const bool met = REAL(WhenUntilOnMutex, "_ZN4", "5Mutex26ReaderLockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE")(
      this, cond, deadline);
  __tsan_mutex_post_lock(this, __tsan_mutex_read_lock, 0);
  return met;
}

// What every Await calls when its condition does not hold yet: leaves the lock,
// sleeps, and takes the lock again.
bool Mutex::AwaitCommon(const Condition& cond, synchronization_internal::KernelTimeout until) {
  using Real = bool (*)(Mutex*, const Condition&, synchronization_internal::KernelTimeout);
  const unsigned how = HowHeld(mu_.load(std::memory_order_relaxed));
  __tsan_mutex_pre_unlock(this, how);
  __tsan_mutex_post_unlock(this, how);
  __tsan_mutex_pre_lock(this, how);
  const bool met = REAL(Real, "_ZN4",
                        "5Mutex11AwaitCommonERKNS0_9ConditionENS0_24synchronization_internal"
                        "13KernelTimeoutE")(this, cond, until);
  __tsan_mutex_post_lock(this, how, 0);
  return met;
}

// What every CondVar::Wait calls.
bool CondVar::WaitCommon(Mutex* mutex, synchronization_internal::KernelTimeout until) {
  using Real = bool (*)(CondVar*, Mutex*, synchronization_internal::KernelTimeout);
  const unsigned how = HowHeld(mutex->mu_.load(std::memory_order_relaxed));
  __tsan_mutex_pre_unlock(mutex, how);
  __tsan_mutex_post_unlock(mutex, how);
  __tsan_mutex_pre_lock(mutex, how);
  const bool late = REAL(Real, "_ZN4",
                         "7CondVar10WaitCommonEPNS0_5MutexENS0_24synchronization_internal"
                         "13KernelTimeoutE")(this, mutex, until);
  __tsan_mutex_post_lock(mutex, how, 0);
  return late;
}

// A notification is waited for without its lock when it has already come.
void Notification::Notify() {
  using Real = void (*)(Notification*);
  __tsan_release(&notified_yet_);
  REAL(Real, "_ZN4", "12Notification6NotifyEv")(this);
}

void Notification::WaitForNotification() const {
  using Real = void (*)(const Notification*);
  REAL(Real, "_ZNK4", "12Notification19WaitForNotificationEv")(this);
  __tsan_acquire(const_cast<std::atomic<bool>*>(&notified_yet_));
}

bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  using Real = bool (*)(const Notification*, Duration);
  const bool came = REAL(Real, "_ZNK4", "12Notification30WaitForNotificationWithTimeoutENS0_8DurationE")(this, timeout);
  if (came) __tsan_acquire(const_cast<std::atomic<bool>*>(&notified_yet_));
  return came;
}

bool Notification::WaitForNotificationWithDeadline(Time deadline) const {
  using Real = bool (*)(const Notification*, Time);
  const bool came = REAL(Real, "_ZNK4", "12Notification31WaitForNotificationWithDeadlineENS0_4TimeE")(this, deadline);
  if (came) __tsan_acquire(const_cast<std::atomic<bool>*>(&notified_yet_));
  return came;
}

bool BlockingCounter::DecrementCount() {
  using Real = bool (*)(BlockingCounter*);
  __tsan_release(&count_);
  return REAL(Real, "_ZN4", "15BlockingCounter14DecrementCountEv")(this);
}

void BlockingCounter::Wait() {
  using Real = void (*)(BlockingCounter*);
  REAL(Real, "_ZN4", "15BlockingCounter4WaitEv")(this);
  __tsan_acquire(&count_);
}

// The last of several threads to drop a Status frees it: an atomic count inside
// the library.
void Status::UnrefNonInlined(uintptr_t rep) {
  using Real = void (*)(uintptr_t);
  void* const counted = reinterpret_cast<void*>(rep & ~uintptr_t{3});
  __tsan_release(counted);
  __tsan_acquire(counted);
  REAL(Real, "_ZN4", "6Status15UnrefNonInlinedEm")(rep);
}

ABSL_NAMESPACE_END
}  // namespace absl

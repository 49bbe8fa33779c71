// Tells the race detector that gRPC orders the threads it connects.
//
// Debian's gRPC is compiled without ThreadSanitizer and hands work from thread
// to thread by atomics that the detector does not see: a message written before
// a call would race with the callback that reads it. So gRPC as a whole is
// described as one synchronization variable: who enters it releases, whom it
// calls back acquires. A race between two threads that both pass through gRPC
// in between can be missed; none is invented. Code that does not call gRPC is
// watched as ever. What gRPC itself does to memory is left out by tsan.supp.
//
// Where: entering, grpc_call_start_batch and gRPC's own locks (tsan_absl.cc);
// leaving, the completion queue's two waits, gRPC's own locks, and each entry
// of an instrumented function whose caller is gRPC.
//
// Thread-safe. Compiled without instrumentation.
#include "tools/sanitizers/tsan_grpc.h"

#include <dlfcn.h>
#include <grpc/grpc.h>
#include <link.h>
#include <sanitizer/tsan_interface.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace penstock::tsan {
namespace {

struct Range {
  uintptr_t begin = 0;
  uintptr_t end = 0;
};

// libgrpc++, libgrpc, libgpr: found once, before main; empty ranges match
// nothing.
std::array<Range, 3> grpc_code;
bool grpc_present = false;

// Its address stands for gRPC.
alignas(8) char grpc_clock[8];

int FindLibrary(dl_phdr_info* info, size_t, void*) {
  constexpr std::array<const char*, 3> kNames = {"/libgrpc++.so", "/libgrpc.so", "/libgpr.so"};
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (std::strstr(info->dlpi_name, kNames[i]) == nullptr) continue;
    for (int p = 0; p < info->dlpi_phnum; ++p) {
      const auto& segment = info->dlpi_phdr[p];
      if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) continue;
      const uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
      grpc_code[i] = {begin, begin + segment.p_memsz};
      grpc_present = true;
    }
  }
  return 0;
}

// Runs before ordinary static initializers; until then nobody is in gRPC on two
// threads.
__attribute__((constructor(101))) void FindLibraries() { dl_iterate_phdr(FindLibrary, nullptr); }

bool InGrpc(const void* address) {
  if (!grpc_present) return false;
  const auto at = reinterpret_cast<uintptr_t>(address);
  for (const Range& range : grpc_code) {
    if (at >= range.begin && at < range.end) return true;
  }
  return false;
}

template <typename Function>
Function Hidden(const char* name) {
  void* found = dlsym(RTLD_NEXT, name);
  if (found == nullptr) {
    std::fprintf(stderr, "tsan_grpc: the system has no %s\n", name);
    std::abort();
  }
  return reinterpret_cast<Function>(found);
}

}  // namespace

void ReleaseIfGrpc(const void* caller) {
  if (InGrpc(caller)) __tsan_release(grpc_clock);
}

void AcquireIfGrpc(const void* caller) {
  if (InGrpc(caller)) __tsan_acquire(grpc_clock);
}

}  // namespace penstock::tsan

using penstock::tsan::AcquireIfGrpc;
using penstock::tsan::grpc_clock;
using penstock::tsan::Hidden;

extern "C" {

// The first race ends the program: a death test can see it, and a log stays
// short.
// gRPC's own threads may outlive main.
const char* __tsan_default_options() { return "halt_on_error=1:second_deadlock_stack=1:report_thread_leaks=0"; }

// What gRPC copies, frees, sends and receives it orders by atomics of its own;
// it draws random numbers from Abseil's pool under a spin lock.
const char* __tsan_default_suppressions() {
  return "called_from_lib:libgrpc.so\n"
         "called_from_lib:libgrpc++.so\n"
         "called_from_lib:libgpr.so\n"
         "called_from_lib:libabsl_random_internal_pool_urbg.so\n"
         // Texts of statuses and cords are shared by atomic counts that are compiled without instrumentation.
         "called_from_lib:libabsl_status.so\n"
         "called_from_lib:libabsl_cord.so\n"
         "called_from_lib:libupb.so\n"
         // gRPC's own end of a stream, inlined into the test: its last callback and its destruction are ordered by a
         // count inside libgrpc++.
         "race:ServerCallbackReaderWriterImpl::~ServerCallbackReaderWriterImpl\n"
         "race:grpc::internal::CallbackWithSuccessTag::Clear\n";
}

// The detector's own hook, called with its caller at the start of each
// instrumented function.
void __tsan_func_entry(void* caller) {
  static const auto real = Hidden<void (*)(void*)>("__tsan_func_entry");
  real(caller);
  AcquireIfGrpc(caller);
}

grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops, size_t count, void* tag, void* reserved) {
  static const auto real = Hidden<decltype(&grpc_call_start_batch)>("grpc_call_start_batch");
  __tsan_release(grpc_clock);
  return real(call, ops, count, tag, reserved);
}

grpc_event grpc_completion_queue_next(grpc_completion_queue* queue, gpr_timespec deadline, void* reserved) {
  static const auto real = Hidden<decltype(&grpc_completion_queue_next)>("grpc_completion_queue_next");
  const grpc_event event = real(queue, deadline, reserved);
  __tsan_acquire(grpc_clock);
  return event;
}

grpc_event grpc_completion_queue_pluck(grpc_completion_queue* queue, void* tag, gpr_timespec deadline, void* reserved) {
  static const auto real = Hidden<decltype(&grpc_completion_queue_pluck)>("grpc_completion_queue_pluck");
  const grpc_event event = real(queue, tag, deadline, reserved);
  __tsan_acquire(grpc_clock);
  return event;
}

}  // extern "C"

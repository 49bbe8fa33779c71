// Keeps gRPC's callback threads from dozing. Thread-compatible.
#ifndef PENSTOCK_COMMON_AWAKE_CALLBACKS_H_
#define PENSTOCK_COMMON_AWAKE_CALLBACKS_H_

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/server.h>

#include <cstdint>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace penstock {

// gRPC 1.51 runs the callbacks of a process on threads that sleep for 100 ms, whatever arrives meanwhile, each time
// they have seen nothing for a second: a step whose actions take long then loses up to 100 ms at each of its
// boundaries. A call to this process's own server comes back over the same queue: as long as calls come oftener than
// once a second, the thread that saw the last one is awake.
class AwakeCallbacks {
 public:
  // `server` is running and outlives this.
  explicit AwakeCallbacks(grpc::Server* server, absl::Duration every = absl::Milliseconds(400));
  ~AwakeCallbacks();  // waits for the call under way

  AwakeCallbacks(const AwakeCallbacks&) = delete;
  AwakeCallbacks& operator=(const AwakeCallbacks&) = delete;

  // Returns after `count` calls in all have come back.
  void AwaitCalls(int64_t count);

 private:
  void Loop(absl::Duration every);
  void Call();

  grpc::GenericStub stub_;
  absl::Mutex mu_;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  int64_t calls_ ABSL_GUARDED_BY(mu_) = 0;
  std::thread thread_;
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_AWAKE_CALLBACKS_H_

// Tells the race detector about gRPC: see tsan_grpc.cc. Thread-safe.
#ifndef PENSTOCK_TOOLS_SANITIZERS_TSAN_GRPC_H_
#define PENSTOCK_TOOLS_SANITIZERS_TSAN_GRPC_H_

namespace penstock::tsan {

// To the detector, gRPC is one variable that all of its threads write and read.
// Each does nothing unless `caller`, a return address, lies in gRPC's
// libraries.

// What this thread has done is visible to whoever acquires later.
void ReleaseIfGrpc(const void* caller);

// What others released before is visible to this thread.
void AcquireIfGrpc(const void* caller);

}  // namespace penstock::tsan

#endif  // PENSTOCK_TOOLS_SANITIZERS_TSAN_GRPC_H_

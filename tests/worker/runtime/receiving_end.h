// Rank 1 of 2 as a neighbour sees it: a server whose stage 1 takes tensors of floats. For tests of streams.
#ifndef PENSTOCK_TESTS_WORKER_RUNTIME_RECEIVING_END_H_
#define PENSTOCK_TESTS_WORKER_RUNTIME_RECEIVING_END_H_

#include <grpcpp/server.h>

#include <cstddef>
#include <memory>
#include <string>

#include "worker/runtime/exchange_service.h"
#include "worker/runtime/receiver.h"

namespace penstock {

// The forward tensor of this pass.
BoundaryKey ForwardKey(uint64_t pass);

// Rank `rank` of job-1, plan epoch 5; incarnations are 100 and 101.
RankIdentity TwoRanks(int rank, const std::string& address, bool shared_memory = true);

// `floats` floats, each byte the low one of its place plus `salt`.
TensorView PatternTensor(int64_t floats, int salt, v1::DType dtype = v1::DTYPE_FLOAT32);

class ReceivingEnd {
 public:
  // Args: floats: of each tensor. passes: how many are expected, one tensor each.
  explicit ReceivingEnd(int64_t floats, uint64_t passes = 1, bool shared_memory = true);
  ~ReceivingEnd() { Stop(); }

  // Takes the tensor of this pass and expects PatternTensor's bytes.
  void ExpectPattern(uint64_t pass, int salt);
  // Ends the server and its streams.
  void Stop();

  const std::string& address() const { return address_; }
  Receiver& receiver() { return *receiver_; }
  const StopSignal& stop() const { return *stop_; }

 private:
  const int64_t floats_;
  const std::shared_ptr<StopSignal> stop_ = std::make_shared<StopSignal>();
  ExchangeService service_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  std::shared_ptr<Receiver> receiver_;
};

}  // namespace penstock

#endif  // PENSTOCK_TESTS_WORKER_RUNTIME_RECEIVING_END_H_

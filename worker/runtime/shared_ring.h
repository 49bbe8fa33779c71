// Memory that two processes of one host share, in pieces: a receiver makes it, one sender writes payloads there.
// Thread-compatible. Who writes a piece and who reads it is settled by messages (docs/wire.md, "Shared memory").
#ifndef PENSTOCK_WORKER_RUNTIME_SHARED_RING_H_
#define PENSTOCK_WORKER_RUNTIME_SHARED_RING_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/limits.h"
#include "proto/tensor.pb.h"

namespace penstock {

// The kernel's id of this boot: two processes with the same one run on the same host. Empty where there is none.
const std::string& BootId();

class SharedRing {
 public:
  // A ring of this process's own. It has no name: its memory is free when the last process that has mapped it ends.
  // Errors: ResourceExhausted: no memory, or no descriptor.
  static absl::StatusOr<std::unique_ptr<SharedRing>> Create(int slots);

  // Maps the ring that another process of this host offers. Whatever the offer says is checked: a file of another kind,
  // user or size, or that could shrink, is not touched.
  // Errors: InvalidArgument: an offer that makes no sense, or what it names is no such ring. NotFound: the process or
  //         its descriptor is not visible from here (another container, say).
  static absl::StatusOr<std::unique_ptr<SharedRing>> Open(const v1::SharedRing& offer);

  ~SharedRing();
  SharedRing(const SharedRing&) = delete;
  SharedRing& operator=(const SharedRing&) = delete;

  // How another process finds it. REQUIRES: this process has created it.
  const v1::SharedRing& offer() const { return offer_; }

  int slots() const { return static_cast<int>(offer_.slots()); }
  // limits::kPieceBytes bytes. REQUIRES: 0 <= index < slots().
  char* slot(int index) const;

 private:
  SharedRing(int fd, char* memory, v1::SharedRing offer) : fd_(fd), memory_(memory), offer_(std::move(offer)) {}

  const int fd_;
  char* const memory_;
  const v1::SharedRing offer_;
};

// The sender's half: a ring, and which of its slots are its to write. Thread-compatible.
class RingWriter {
 public:
  explicit RingWriter(std::unique_ptr<SharedRing> ring);

  // The lowest free slot, so that as few as are needed are in use, and so in the processor's cache; it is taken until
  // the receiver gives it back. Nothing when all are.
  std::optional<uint32_t> Take();
  // limits::kPieceBytes bytes. REQUIRES: Take has given out the slot.
  char* memory(uint32_t slot) const { return ring_->slot(static_cast<int>(slot)); }
  // Errors: InvalidArgument: the receiver gives back what it does not have.
  absl::Status GiveBack(uint32_t slot);

 private:
  const std::unique_ptr<SharedRing> ring_;
  std::vector<bool> taken_;  // by slot
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_SHARED_RING_H_

#include "worker/runtime/shared_ring.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/logging.h"

namespace penstock {
namespace {

// Before the first slot, so that slots are aligned to pages; begins with the nonce.
constexpr size_t kHeadBytes = 4096;
// No offer of ours has more; a larger one is a mistake.
constexpr uint32_t kMaxSlots = 64;
// Its size is for good: reading or writing a page that its owner has cut off would end this process.
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW;

size_t TotalBytes(uint32_t slots) { return kHeadBytes + slots * limits::kPieceBytes; }

absl::StatusOr<char*> Map(int fd, uint32_t slots) {
  // Populated: otherwise each first touch of a page would cost a fault while a tensor waits.
  void* const memory = mmap(nullptr, TotalBytes(slots), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("shared memory of ", TotalBytes(slots), " bytes could not be mapped: ", std::strerror(errno)));
  }
  return static_cast<char*>(memory);
}

absl::Status CheckFile(int fd, const v1::SharedRing& offer) {
  struct stat file;
  if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) || file.st_uid != geteuid() ||
      file.st_size != static_cast<int64_t>(TotalBytes(offer.slots())) || fcntl(fd, F_GET_SEALS) < 0 ||
      (fcntl(fd, F_GET_SEALS) & kSeals) != kSeals) {
    return absl::InvalidArgumentError(absl::StrCat("descriptor ", offer.fd(), " of process ", offer.process(),
                                                   " is no ring of ", offer.slots(), " slots"));
  }
  return absl::OkStatus();
}

}  // namespace

const std::string& BootId() {
  static const std::string* const id = [] {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    auto* const text = new std::string;
    std::getline(file, *text);
    return text;
  }();
  return *id;
}

absl::StatusOr<std::unique_ptr<SharedRing>> SharedRing::Create(int slots) {
  CHECK_GE(slots, 1);
  CHECK_LE(slots, static_cast<int>(kMaxSlots));
  v1::SharedRing offer;
  offer.set_slots(static_cast<uint32_t>(slots));
  const int fd = memfd_create("penstock-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  uint64_t nonce = 0;
  if (fd < 0 || fchmod(fd, 0600) != 0 || ftruncate(fd, static_cast<off_t>(TotalBytes(offer.slots()))) != 0 ||
      fcntl(fd, F_ADD_SEALS, kSeals | F_SEAL_SEAL) != 0 ||
      getrandom(&nonce, sizeof(nonce), 0) != static_cast<ssize_t>(sizeof(nonce))) {
    const absl::Status why = absl::ResourceExhaustedError(absl::StrCat(
        "shared memory of ", TotalBytes(offer.slots()), " bytes could not be made: ", std::strerror(errno)));
    if (fd >= 0) close(fd);
    return why;
  }
  const absl::StatusOr<char*> memory = Map(fd, offer.slots());
  if (!memory.ok()) {
    close(fd);
    return memory.status();
  }
  offer.set_process(static_cast<uint32_t>(getpid()));
  offer.set_fd(static_cast<uint32_t>(fd));
  offer.set_nonce(nonce);
  std::memcpy(*memory, &nonce, sizeof(nonce));
  return std::unique_ptr<SharedRing>(new SharedRing(fd, *memory, std::move(offer)));
}

// 1. The offer.  2. The file that it names.  3. The nonce: it is the ring that the receiver has made for this stream.
absl::StatusOr<std::unique_ptr<SharedRing>> SharedRing::Open(const v1::SharedRing& offer) {
  if (offer.process() == 0 || offer.slots() == 0 || offer.slots() > kMaxSlots) {
    return absl::InvalidArgumentError(
        absl::StrCat("a ring of ", offer.slots(), " slots of process ", offer.process(), "; at most ", kMaxSlots));
  }
  const std::string path = absl::StrCat("/proc/", offer.process(), "/fd/", offer.fd());
  // Not blocking: what another descriptor leads to may be a pipe without a reader.
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
  auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  const absl::Status checked = CheckFile(fd, offer);
  if (!checked.ok()) return checked;
  const absl::StatusOr<char*> memory = Map(fd, offer.slots());
  if (!memory.ok()) return memory.status();
  uint64_t nonce = 0;
  std::memcpy(&nonce, *memory, sizeof(nonce));
  if (nonce != offer.nonce()) {
    munmap(*memory, TotalBytes(offer.slots()));
    return absl::InvalidArgumentError(absl::StrCat(path, " is not the ring that was offered"));
  }
  return std::unique_ptr<SharedRing>(new SharedRing(-1, *memory, offer));  // mapped: the descriptor is not needed
}

SharedRing::~SharedRing() {
  munmap(memory_, TotalBytes(offer_.slots()));
  if (fd_ >= 0) close(fd_);
}

char* SharedRing::slot(int index) const {
  DCHECK_GE(index, 0);
  DCHECK_LT(index, slots());
  return memory_ + kHeadBytes + static_cast<size_t>(index) * limits::kPieceBytes;
}

RingWriter::RingWriter(std::unique_ptr<SharedRing> ring) : ring_(std::move(ring)), taken_(ring_->slots(), false) {}

std::optional<uint32_t> RingWriter::Take() {
  const auto free = std::find(taken_.begin(), taken_.end(), false);
  if (free == taken_.end()) return std::nullopt;
  *free = true;
  return static_cast<uint32_t>(free - taken_.begin());
}

absl::Status RingWriter::GiveBack(uint32_t slot) {
  if (slot >= taken_.size() || !taken_[slot]) {
    return absl::InvalidArgumentError(absl::StrCat("slot ", slot, " of the ring is given back and was not taken"));
  }
  taken_[slot] = false;
  return absl::OkStatus();
}

}  // namespace penstock

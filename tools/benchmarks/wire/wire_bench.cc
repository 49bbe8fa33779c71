// One of two processes that send each other tensors, as ranks of a job do: sender -> frames -> stream -> mailbox ->
// tensor, checksum on. Driven by tools/benchmarks/wire/run over stdin and stdout; rank 0 measures.
//
// Lines in:  "peer HOST:PORT RAW_PORT" once; then, to both ranks alike,
//            "shared_memory 0" or "1"  -> nothing; whether what follows may use it (at first: yes)
//            "throughput BYTES COUNT"  -> {"gb_per_s": ...}
//            "latency BYTES COUNT"     -> {"one_way_us": ..., "p99_us": ...}   half of a round trip
//            "raw_latency BYTES COUNT" -> the same over a bare TCP connection
//            "memcpy BYTES COUNT"      -> {"gb_per_s": ...}
// Lines out: "HOST:PORT RAW_PORT" once; then one line of JSON for each command.
#include <arpa/inet.h>
#include <grpcpp/server.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "common/channel.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/logging.h"
#include "common/process.h"
#include "worker/runtime/exchange_service.h"
#include "worker/runtime/peer_sender.h"
#include "worker/runtime/receiver.h"

namespace penstock {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr size_t kQueued = 8;  // tensors that the sender keeps in its queue

double Seconds() { return absl::ToDoubleSeconds(Clock::Real()->Monotonic()); }

// Rank 0 sends forward to rank 1, rank 1 backward to rank 0.
BoundaryKey Key(uint64_t pass, int to_rank) {
  return {pass, to_rank, to_rank == 1 ? v1::DIRECTION_FORWARD : v1::DIRECTION_BACKWARD, 0, "x"};
}

// A source tensor: memory of its own, written once.
TensorView MakeTensor(size_t bytes) {
  std::shared_ptr<char[]> data(static_cast<char*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)),
                               [](char* memory) { std::free(memory); });
  std::memset(data.get(), 7, bytes);
  return {.meta = {v1::DTYPE_UINT8, {static_cast<int64_t>(bytes)}}, .owner = data, .data = data.get(), .bytes = bytes};
}

void PrintTimes(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  std::cout << absl::StrFormat("{\"one_way_us\": %.2f, \"p99_us\": %.2f}", seconds[seconds.size() / 2] * 5e5,
                               seconds[seconds.size() * 99 / 100] * 5e5)
            << std::endl;
}

class Bench {
 public:
  explicit Bench(int rank) : rank_(rank) {
    grpc::ServerBuilder builder;
    int port = 0;
    PrepareServer(&builder, "127.0.0.1:0", &port);
    PrepareForTensors(&builder);
    builder.RegisterService(&exchange_);
    server_ = builder.BuildAndStart();
    CHECK(server_ != nullptr);
    address_ = absl::StrCat("127.0.0.1:", port);
    OpenRaw();
    std::cout << address_ << " " << raw_port_ << std::endl;
  }

  void Meet(const std::string& peer, int raw_port) {
    peer_ = peer;
    if (rank_ == 1) {
      raw_ = accept(listener_, nullptr, nullptr);
    } else {
      raw_ = socket(AF_INET, SOCK_STREAM, 0);
      sockaddr_in to = Loopback(raw_port);
      CHECK_EQ(connect(raw_, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
    }
    const int on = 1;
    setsockopt(raw_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }

  void ShareMemory(bool shared) { shared_memory_ = shared; }

  void Throughput(size_t bytes, uint64_t count) {
    Connect(bytes);
    // One pass to warm up, one tensor a pass; the last backward tensor says that all were taken.
    const uint64_t warm_up = std::min<uint64_t>(count, 8);
    if (rank_ == 0) {
      Expect(0, 2);
      const std::vector<TensorView> tensors = {MakeTensor(bytes), MakeTensor(bytes)};
      SendMany(tensors, 1, warm_up);
      Take(1);
      const double start = Seconds();
      SendMany(tensors, warm_up + 1, count);
      Take(2);
      const double seconds = Seconds() - start;
      std::cout << absl::StrFormat("{\"gb_per_s\": %.4f, \"us_per_tensor\": %.2f}",
                                   static_cast<double>(bytes) * static_cast<double>(count) / seconds / 1e9,
                                   seconds * 1e6 / static_cast<double>(count))
                << std::endl;
    } else {
      Expect(1, warm_up + count);
      const TensorView token = MakeTensor(1);
      for (uint64_t pass = 1; pass <= warm_up; ++pass) Take(pass);
      CHECK(sender_->Send(Key(1, 0), token).ok());
      for (uint64_t pass = warm_up + 1; pass <= warm_up + count; ++pass) Take(pass);
      CHECK(sender_->Send(Key(2, 0), token).ok());
      std::cout << "{}" << std::endl;
    }
  }

  void Latency(size_t bytes, uint64_t count) {
    Connect(bytes);
    Expect(rank_, count);
    const TensorView tensor = MakeTensor(bytes);
    std::vector<double> seconds;
    for (uint64_t pass = 1; pass <= count; ++pass) {
      const double start = Seconds();
      if (rank_ == 0) CHECK(sender_->Send(Key(pass, 1), tensor).ok());
      Take(pass);
      if (rank_ == 1) CHECK(sender_->Send(Key(pass, 0), tensor).ok());
      if (pass > count / 10) seconds.push_back(Seconds() - start);
    }
    if (rank_ == 0) {
      PrintTimes(std::move(seconds));
    } else {
      std::cout << "{}" << std::endl;
    }
  }

  // Each rank on a processor of its own, as workers are: on one and the same, which is where the scheduler puts them
  // when the host is busy, a message costs little more than a switch of contexts.
  void RawLatency(size_t bytes, uint64_t count) {
    cpu_set_t allowed;
    CHECK_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
    PinTo(allowed);
    std::vector<char> buffer(bytes, 1);
    std::vector<double> seconds;
    for (uint64_t i = 0; i < count; ++i) {
      const double start = Seconds();
      if (rank_ == 0) WriteRaw(buffer);
      for (size_t at = 0; at < bytes;) {
        const ssize_t got = recv(raw_, buffer.data() + at, bytes - at, 0);
        CHECK_GT(got, 0);
        at += static_cast<size_t>(got);
      }
      if (rank_ == 1) WriteRaw(buffer);
      seconds.push_back(Seconds() - start);
    }
    sched_setaffinity(0, sizeof(allowed), &allowed);
    if (rank_ == 0) {
      PrintTimes(std::move(seconds));
    } else {
      std::cout << "{}" << std::endl;
    }
  }

  void Memcpy(size_t bytes, uint64_t count) {
    if (rank_ == 1) {
      std::cout << "{}" << std::endl;
      return;
    }
    const TensorView from = MakeTensor(bytes), to = MakeTensor(bytes);
    const double start = Seconds();
    for (uint64_t i = 0; i < count; ++i) std::memcpy(const_cast<char*>(to.data), from.data, bytes);
    std::cout << absl::StrFormat("{\"gb_per_s\": %.3f}",
                                 static_cast<double>(bytes) * static_cast<double>(count) / (Seconds() - start) / 1e9)
              << std::endl;
  }

  // Ends the links; the peer does the same.
  void Disconnect() {
    sender_.reset();
    if (receiver_ != nullptr) receiver_->Close(absl::CancelledError("measured"));
    receiver_.reset();
  }

 private:
  // The calling thread goes to one of the processors that it may use; each rank to another if there are two.
  void PinTo(const cpu_set_t& allowed) const {
    int skip = CPU_COUNT(&allowed) > 1 ? rank_ : 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &allowed) || skip-- > 0) continue;
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      sched_setaffinity(0, sizeof(one), &one);
      return;
    }
  }

  static sockaddr_in Loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    return address;
  }

  void OpenRaw() {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = Loopback(0);
    socklen_t size = sizeof(address);
    CHECK_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    CHECK_EQ(listen(listener_, 1), 0);
    CHECK_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    raw_port_ = ntohs(address.sin_port);
  }

  void WriteRaw(const std::vector<char>& buffer) {
    CHECK_EQ(send(raw_, buffer.data(), buffer.size(), 0), static_cast<ssize_t>(buffer.size()));
  }

  // New links for every measurement, under a plan epoch of their own. The peers meet over the raw connection, so that
  // both receivers are set before a stream opens.
  void Connect(size_t bytes) {
    ++epoch_;
    RankIdentity identity{.job = "wire",
                          .plan_epoch = epoch_,
                          .incarnation = 1,
                          .rank = rank_,
                          .rank_of_stage = {0, 1},
                          .shared_memory = shared_memory_};
    for (int i = 0; i < 2; ++i) {
      v1::Neighbour neighbour;
      neighbour.set_rank(static_cast<uint32_t>(i));
      neighbour.set_worker(absl::StrCat("bench.", i));
      neighbour.set_incarnation(1);
      neighbour.set_address(i == rank_ ? address_ : peer_);
      identity.ranks.push_back(neighbour);
    }
    BoundaryBounds bounds(1);
    const TensorMeta largest{v1::DTYPE_UINT8, {static_cast<int64_t>(bytes)}};
    bounds.Allow(1, v1::DIRECTION_FORWARD, largest);
    bounds.Allow(0, v1::DIRECTION_BACKWARD, largest);
    bytes_ = bytes;
    stop_ = std::make_shared<StopSignal>();
    receiver_ = std::make_shared<Receiver>(identity, bounds, std::max(4 * bytes, limits::kMinCreditBytes),
                                           Clock::Real(), stop_);
    exchange_.SetReceiver(receiver_);
    WriteRaw({1});
    char token = 0;
    CHECK_EQ(recv(raw_, &token, 1, 0), 1);
    sender_ = std::make_unique<PeerSender>(identity, 1 - rank_, Key(0, 1 - rank_), 2 * kQueued, Clock::Real(),
                                           [](const absl::Status&) {});
    sender_->Open();
  }

  void Expect(int to_rank, uint64_t passes) {
    receiver_->BeginRange({{.key = Key(0, to_rank), .bytes = bytes_}}, 1, passes);
  }

  void Take(uint64_t pass) {
    const auto tensor = receiver_->Take(Key(pass, rank_), Clock::Real()->Monotonic() + kPatience);
    CHECK(tensor.ok()) << tensor.status();
  }

  void SendMany(const std::vector<TensorView>& tensors, uint64_t first_pass, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      const absl::Status room = sender_->AwaitQueued(kQueued, Clock::Real()->Monotonic() + kPatience);
      CHECK(room.ok()) << room;
      const absl::Status sent = sender_->Send(Key(first_pass + i, 1), tensors[i % tensors.size()]);
      CHECK(sent.ok()) << sent;
    }
  }

  const int rank_;
  ExchangeService exchange_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_, peer_;
  int listener_ = -1, raw_ = -1, raw_port_ = 0;
  uint64_t epoch_ = 0;
  bool shared_memory_ = true;
  size_t bytes_ = 0;
  std::shared_ptr<StopSignal> stop_;
  std::shared_ptr<Receiver> receiver_;
  std::unique_ptr<PeerSender> sender_;
};

int Main(int rank) {
  Bench bench(rank);
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "peer") {
      std::string address;
      int raw_port = 0;
      words >> address >> raw_port;
      bench.Meet(address, raw_port);
      continue;
    }
    if (command == "shared_memory") {
      bool shared = false;
      words >> shared;
      bench.ShareMemory(shared);
      continue;
    }
    size_t bytes = 0;
    uint64_t count = 0;
    words >> bytes >> count;
    CHECK(bytes > 0 && count > 0) << line;
    if (command == "throughput") bench.Throughput(bytes, count);
    if (command == "latency") bench.Latency(bytes, count);
    if (command == "raw_latency") bench.RawLatency(bytes, count);
    if (command == "memcpy") bench.Memcpy(bytes, count);
    if (command == "disconnect") bench.Disconnect();
  }
  bench.Disconnect();
  return 0;
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  penstock::KeepPages();
  penstock::SkipLockOrderSearch();
  penstock::StartLogging(argv[0]);
  int rank = 0;
  CHECK(argc == 2 && absl::SimpleAtoi(argv[1], &rank) && (rank == 0 || rank == 1)) << "usage: wire_bench RANK";
  return penstock::Main(rank);
}

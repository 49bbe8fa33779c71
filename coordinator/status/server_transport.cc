#include "coordinator/status/server_transport.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/logging.h"

namespace penstock {
namespace {

// A browser's request has 1-2 KiB of headers.
constexpr size_t kMaxRequestBytes = size_t{16} << 10;

// For receiving the request and sending the answer together. All of it happens on this machine.
constexpr absl::Duration kMaxConnectionTime = absl::Seconds(5);

// For the client to close its side once it has the answer.
constexpr absl::Duration kMaxFinishTime = absl::Seconds(1);

// Enough for a page and a metrics scraper at once; answers take milliseconds.
constexpr int kThreads = 4;
constexpr size_t kMaxWaiting = 16;

// A connection that stops reading after kMaxRequestBytes, and altogether after kMaxConnectionTime or once stop_event
// is readable.
class BoundedStream final : public httplib::Stream {
 public:
  BoundedStream(socket_t socket, int stop_event)
      : socket_(socket), stop_event_(stop_event), deadline_(Clock::Real()->Monotonic() + kMaxConnectionTime) {}

  bool is_readable() const override { return begin_ < end_ || Wait(POLLIN); }
  bool is_writable() const override { return Wait(POLLOUT); }

  ssize_t read(char* out, size_t bytes) override {
    if (begin_ == end_ && !Fill()) return -1;
    const size_t count = std::min(bytes, end_ - begin_);
    std::copy_n(buffer_ + begin_, count, out);
    begin_ += count;
    return static_cast<ssize_t>(count);
  }

  ssize_t write(const char* data, size_t bytes) override {
    if (!Wait(POLLOUT)) return -1;
    ssize_t put;
    do {
      put = ::send(socket_, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (put < 0 && errno == EINTR);
    return put;
  }

  void get_remote_ip_and_port(std::string& ip, int& port) const override {
    ip = "loopback";
    port = 0;
  }
  void get_local_ip_and_port(std::string& ip, int& port) const override { get_remote_ip_and_port(ip, port); }
  socket_t socket() const override { return socket_; }

  // Says that the answer is whole, then takes in what the client still sends: closing with bytes unread would reset
  // the connection, and the answer could be lost with it.
  void Finish() {
    ::shutdown(socket_, SHUT_WR);
    begin_ = end_ = 0;
    deadline_ = std::min(deadline_, Clock::Real()->Monotonic() + kMaxFinishTime);
    while (Fill()) continue;
  }

 private:
  bool Wait(int16_t events) const {
    pollfd poll[] = {{socket_, events, 0}, {stop_event_, POLLIN, 0}};
    while (true) {
      const absl::Duration left = deadline_ - Clock::Real()->Monotonic();
      if (left <= absl::ZeroDuration()) return false;
      const int ready = ::poll(poll, 2, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1);
      if (ready > 0) return poll[1].revents == 0;
      if (ready < 0 && errno != EINTR) return false;
    }
  }

  // Whether there are bytes in the buffer now.
  bool Fill() {
    if (received_ >= kMaxRequestBytes || !Wait(POLLIN)) return false;
    ssize_t got;
    do {
      got = ::recv(socket_, buffer_, std::min(sizeof(buffer_), kMaxRequestBytes - received_), 0);
    } while (got < 0 && errno == EINTR);
    if (got <= 0) return false;
    begin_ = 0;
    end_ = static_cast<size_t>(got);
    received_ += end_;
    return true;
  }

  const socket_t socket_;
  const int stop_event_;
  absl::Duration deadline_;
  char buffer_[4096];
  size_t begin_ = 0, end_ = 0;
  size_t received_ = 0;
};

}  // namespace

BoundedTaskQueue::BoundedTaskQueue(int threads, size_t max_waiting) : max_waiting_(max_waiting) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

void BoundedTaskQueue::enqueue(std::function<void()> task) {
  const auto has_room = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return waiting_.size() < max_waiting_; };
  absl::MutexLock lock(&mu_);
  // Each running task ends by its own deadline, so this wait does.
  mu_.Await(absl::Condition(&has_room));
  waiting_.push_back(std::move(task));
}

void BoundedTaskQueue::Run() {
  const auto has_work = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return ending_ || !waiting_.empty(); };
  while (true) {
    std::function<void()> task;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(&has_work));
      if (waiting_.empty()) return;
      task = std::move(waiting_.front());
      waiting_.pop_front();
    }
    task();
  }
}

void BoundedTaskQueue::shutdown() {
  {
    absl::MutexLock lock(&mu_);
    ending_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

BoundedServer::BoundedServer() : stop_event_(::eventfd(0, EFD_CLOEXEC)) {
  PCHECK(stop_event_ >= 0);
  new_task_queue = [] { return new BoundedTaskQueue(kThreads, kMaxWaiting); };
}

BoundedServer::~BoundedServer() { ::close(stop_event_); }

void BoundedServer::Stop() {
  ::eventfd_write(stop_event_, 1);
  stop();
}

bool BoundedServer::process_and_close_socket(socket_t sock) {
  BoundedStream stream(sock, stop_event_);
  bool closed = false;
  const bool answered = process_request(stream, /*close_connection=*/true, closed, [](httplib::Request&) {});
  stream.Finish();
  ::close(sock);
  return answered;
}

}  // namespace penstock

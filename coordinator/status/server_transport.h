// The connections of the HTTP endpoint: one bounded request each, a few threads, no unbounded queue.
#ifndef PENSTOCK_COORDINATOR_STATUS_SERVER_TRANSPORT_H_
#define PENSTOCK_COORDINATOR_STATUS_SERVER_TRANSPORT_H_

#include <httplib.h>

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace penstock {

// Runs connections on a few threads. When all are busy and the queue is full, the caller (the accept loop) waits, and
// clients with it, in the kernel's backlog: descriptors are not used up. Thread-safe.
class BoundedTaskQueue final : public httplib::TaskQueue {
 public:
  BoundedTaskQueue(int threads, size_t max_waiting);

  void enqueue(std::function<void()> task) override;
  // Runs what waits, then ends the threads. Call once, last.
  void shutdown() override;

 private:
  void Run();

  const size_t max_waiting_;
  absl::Mutex mu_;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mu_);
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

// An httplib server that answers one request a connection, whose head may take up a limited number of bytes and
// seconds, however it is cut up. httplib's own limits are per line and per byte. Thread-safe once it listens.
class BoundedServer final : public httplib::Server {
 public:
  BoundedServer();
  ~BoundedServer() override;

  // Ends listen_after_bind, and cuts off the connections that wait for their client. Call once listening has begun.
  void Stop();

 private:
  bool process_and_close_socket(socket_t sock) override;

  const int stop_event_;  // readable once Stop was called
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_STATUS_SERVER_TRANSPORT_H_

// Ctrl-C (SIGINT), SIGTERM and SIGHUP as calls on a thread of their own, instead of the end of the process.
#ifndef PENSTOCK_CLI_INTERRUPT_H_
#define PENSTOCK_CLI_INTERRUPT_H_

#include <functional>
#include <thread>

namespace penstock {

// While it lives, each such signal calls `on_interrupt` with its count, from 1. Calls come one after another from the
// object's own thread. Construct it before the process has other threads (gRPC's included): they inherit its signal
// mask. One at a time.
class Interrupts {
 public:
  explicit Interrupts(std::function<void(int count)> on_interrupt);
  ~Interrupts();

  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

 private:
  void Run();

  const std::function<void(int)> on_interrupt_;
  int signal_fd_;
  int end_fd_;
  std::thread thread_;
};

}  // namespace penstock

#endif  // PENSTOCK_CLI_INTERRUPT_H_

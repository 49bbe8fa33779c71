#include "cli/interrupt.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <utility>

#include "common/logging.h"

namespace penstock {
namespace {

sigset_t InterruptSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
  return set;
}

}  // namespace

Interrupts::Interrupts(std::function<void(int count)> on_interrupt) : on_interrupt_(std::move(on_interrupt)) {
  const sigset_t set = InterruptSignals();
  PCHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  signal_fd_ = signalfd(-1, &set, SFD_CLOEXEC);
  end_fd_ = eventfd(0, EFD_CLOEXEC);
  PCHECK(signal_fd_ >= 0 && end_fd_ >= 0);
  thread_ = std::thread([this] { Run(); });
}

Interrupts::~Interrupts() {
  eventfd_write(end_fd_, 1);
  thread_.join();
  close(signal_fd_);
  close(end_fd_);
  const sigset_t set = InterruptSignals();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void Interrupts::Run() {
  pollfd fds[] = {{.fd = signal_fd_, .events = POLLIN}, {.fd = end_fd_, .events = POLLIN}};
  for (int count = 0;;) {
    if (poll(fds, 2, -1) < 0) continue;
    if (fds[1].revents != 0) return;
    signalfd_siginfo info;
    if (read(signal_fd_, &info, sizeof(info)) == sizeof(info)) on_interrupt_(++count);
  }
}

}  // namespace penstock

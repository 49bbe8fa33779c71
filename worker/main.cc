// penstock-worker: a process that owns one device and runs the ranks that a coordinator gives it.
#include <grpcpp/server.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/awake_callbacks.h"
#include "common/channel.h"
#include "common/clock.h"
#include "common/logging.h"
#include "common/process.h"
#include "common/status_macros.h"
#include "common/version.h"
#include "worker/coordinator_link.h"
#include "worker/log_buffer.h"
#include "worker/runtime/exchange_service.h"
#include "worker/service.h"
#include "worker/torch/torch_device.h"

namespace penstock {
namespace {

struct Flags {
  std::string coordinator;
  std::string id;
  std::string device = "cpu";
  uint64_t memory_bytes = 0;
  std::string listen = "127.0.0.1:0";
  bool end_with_coordinator = false;
};

// How long open calls may take to end after a signal.
constexpr absl::Duration kServerGrace = absl::Milliseconds(500);
// After this the process ends whatever its threads do: the device may be in the middle of a long computation.
constexpr unsigned kEndAfterSeconds = 3;

void AddFlags(CLI::App* app, Flags* flags) {
  app->set_version_flag("--version", absl::StrCat("penstock-worker ", kVersion));
  app->add_option("--coordinator", flags->coordinator, "the coordinator's address, HOST:PORT")->required();
  app->add_option("--id", flags->id, "this worker's name in the cluster, HOST/DEVICE.INDEX")->required();
  app->add_option("--device", flags->device, "cpu or cuda:N")->capture_default_str();
  app->add_option("--memory", flags->memory_bytes, "bytes that the device may allocate; 0: no limit")
      ->capture_default_str();
  app->add_option("--listen", flags->listen, "address to listen on; port 0 takes a free one")->capture_default_str();
  app->add_flag("--end-with-coordinator", flags->end_with_coordinator, "end when the coordinator is gone");
}

// SIGTERM and SIGINT are taken by sigwait in main's thread alone.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

// "127.0.0.1:0" with the port that was bound.
std::string WithPort(const std::string& address, int port) {
  return absl::StrCat(address.substr(0, address.rfind(':') + 1), port);
}

v1::RegisterRequest DescribeSelf(const Flags& flags, const Device& device, const std::string& address) {
  v1::RegisterRequest self;
  self.set_id(flags.id);
  self.set_version(kVersion);
  self.set_host(HostName());
  self.set_pid(getpid());
  self.set_device(device.Name());
  self.set_address(address);
  self.set_memory_bytes(device.MemoryLimitBytes());
  self.set_self_test(device.SelfTestHash());
  self.set_fingerprint(device.NumericFingerprint());
  return self;
}

// Why the process ends; set by whoever ends it first, before it wakes main's thread.
class EndReason {
 public:
  void Set(const absl::Status& why) {
    {
      absl::MutexLock lock(&mu_);
      if (why_.ok()) why_ = why;
    }
    kill(getpid(), SIGTERM);
  }
  absl::Status Get() const {
    absl::MutexLock lock(&mu_);
    return why_;
  }

 private:
  mutable absl::Mutex mu_;
  absl::Status why_ ABSL_GUARDED_BY(mu_);
};

absl::StatusOr<std::unique_ptr<grpc::Server>> Listen(const std::string& address, grpc::Service* exchange,
                                                     grpc::Service* worker, int* port) {
  PENSTOCK_RETURN_IF_ERROR(CheckLoopback(address));
  grpc::ServerBuilder builder;
  PrepareServer(&builder, address, port);
  PrepareForTensors(&builder);
  builder.RegisterService(exchange);
  builder.RegisterService(worker);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || *port == 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", address, ": the port is in use by another process, ",
                                               "or may not be used; choose another with --listen"));
  }
  return server;
}

// Serves until a signal, the coordinator's Shutdown, or the end of the membership.
// Returns: OK for the first two, else why it ended.
absl::Status Serve(const Flags& flags, Device* device) {
  const sigset_t signals = BlockSignals();  // before there is another thread
  Clock* const clock = Clock::Real();
  LogBuffer log(clock);
  ExchangeService exchange;
  EndReason end;
  std::unique_ptr<WorkerService> service;
  CoordinatorLink link({.coordinator = flags.coordinator,
                        .end_with_coordinator = flags.end_with_coordinator,
                        .counters = [&service] { return service->Counters(); },
                        .on_end = [&end](const absl::Status& why) { end.Set(why); }},
                       v1::Membership::NewStub(OpenChannel(flags.coordinator)), &log, clock);
  service = std::make_unique<WorkerService>(SessionEnvironment{.device = device,
                                                               .exchange = &exchange,
                                                               .committer = &link,
                                                               .log = &log,
                                                               .clock = clock,
                                                               .worker = flags.id},
                                            [&link] { return link.incarnation(); },
                                            [&end] { end.Set(absl::OkStatus()); });
  int port = 0;
  PENSTOCK_ASSIGN_OR_RETURN(const std::unique_ptr<grpc::Server> server,
                            Listen(flags.listen, &exchange, service.get(), &port));
  auto awake = std::make_unique<AwakeCallbacks>(server.get());
  const std::string address = WithPort(flags.listen, port);
  LOG(INFO) << "penstock-worker " << kVersion << ": id " << flags.id << ", device " << device->Name() << ", memory "
            << (flags.memory_bytes == 0 ? "unlimited" : absl::StrCat(flags.memory_bytes, " bytes")) << ", listening on "
            << address << ", coordinator " << flags.coordinator << ", pid " << getpid()
            << (flags.end_with_coordinator ? ", ends with the coordinator" : "");
  link.Start(DescribeSelf(flags, *device, address));

  int signal = 0;
  sigwait(&signals, &signal);
  alarm(kEndAfterSeconds);  // its default action ends the process
  LOG(INFO) << "ending: " << (end.Get().ok() ? "asked to" : end.Get().ToString());
  if (end.Get().ok()) link.Leave();  // first: what the end of its work looks like elsewhere has then a cause
  service->Close(absl::CancelledError("the worker is ending"));
  awake.reset();
  server->Shutdown(absl::ToChronoTime(clock->Wall() + kServerGrace));
  server->Wait();
  return end.Get();
}

absl::Status Main(const Flags& flags) {
  PENSTOCK_RETURN_IF_ERROR(CheckLoopback(flags.coordinator));
  if (flags.id.empty()) return absl::InvalidArgumentError("--id is empty");
  PENSTOCK_ASSIGN_OR_RETURN(const std::unique_ptr<Device> device, OpenTorchDevice(flags.device, flags.memory_bytes));
  return Serve(flags, device.get());
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  prctl(PR_SET_TIMERSLACK, 1);  // ns; of this thread and all that it starts: a delay layer ends when it should
  penstock::KeepPages();
  penstock::SkipLockOrderSearch();
  penstock::PrepareTorch();
  penstock::StartLogging(argv[0]);
  CLI::App app("Owns one device and runs the ranks that a coordinator gives it.", "penstock-worker");
  penstock::Flags flags;
  penstock::AddFlags(&app, &flags);
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = penstock::Main(flags);
  if (status.ok()) return 0;
  LOG(ERROR) << "worker " << flags.id << " ended: " << status.message();
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

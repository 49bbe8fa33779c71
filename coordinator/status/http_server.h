// The coordinator's HTTP endpoint: GET only, loopback only, Host and Origin checked. Thread-safe.
#ifndef PENSTOCK_COORDINATOR_STATUS_HTTP_SERVER_H_
#define PENSTOCK_COORDINATOR_STATUS_HTTP_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "proto/coordinator.pb.h"

namespace penstock {

// What the pages are made of; called from the server's threads.
struct StatusSources {
  std::function<v1::ClusterStatus()> cluster;
  std::function<absl::StatusOr<v1::GetReply>(const std::string& job)> job;
  std::function<absl::Status()> ready;  // OK once every worker of cluster.yaml has registered
};

// Serves /statusz (HTML, or JSON by Accept or ?format=json), /jobs/ID, /livez, /readyz, /healthz, /metrics, /version.
class StatusServer {
 public:
  virtual ~StatusServer() = default;        // stops it
  virtual std::string Address() const = 0;  // HOST:PORT that it is bound to
};

// Args:    address: HOST:PORT; port 0 takes a free one.
// Errors:  InvalidArgument: not a loopback address. Unavailable: the port is in use; names it.
absl::StatusOr<std::unique_ptr<StatusServer>> StartStatusServer(const std::string& address, StatusSources sources);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_STATUS_HTTP_SERVER_H_

// Which requests the HTTP endpoint answers at all. A web page that a browser on this host has open can send requests to
// a loopback port, and with a name of its own that resolves to 127.0.0.1 read the answers: so only loopback names are
// accepted as Host, and no other origin. Pure.
#ifndef PENSTOCK_COORDINATOR_STATUS_REQUEST_GUARD_H_
#define PENSTOCK_COORDINATOR_STATUS_REQUEST_GUARD_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace penstock {

struct Refusal {
  int http_status = 0;  // 0: the request is fine
  std::string reason;
};

// Args:    hosts, origins: the values of the Host and Origin headers, one for each header.
// Returns: 405 for a method other than GET; 400 for no Host or several; 403 for a Host that is not a loopback name, or
//          an Origin that is not "http://" and this very Host.
Refusal CheckRequest(absl::string_view method, const std::vector<std::string>& hosts,
                     const std::vector<std::string>& origins);

// "HOST:PORT" or "HOST" with a host that names this machine itself: localhost, 127.x.y.z, [::1].
bool IsLoopbackHost(absl::string_view host_and_port);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_STATUS_REQUEST_GUARD_H_

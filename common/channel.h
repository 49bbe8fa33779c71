// gRPC channels and servers, set up the same everywhere. Thread-safe.
#ifndef PENSTOCK_COMMON_CHANNEL_H_
#define PENSTOCK_COMMON_CHANNEL_H_

#include <grpcpp/channel.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace penstock {

// A plain-text channel to a loopback address, "127.0.0.1:7400". Keepalive matches the server's, messages are
// taken up to limits::kMaxMessageBytes. Channels to the same address are separate connections.
std::shared_ptr<grpc::Channel> OpenChannel(const std::string& address);

// Sets what every server needs: SO_REUSEPORT off (two servers on one port must be an error), keepalive and the largest
// message as OpenChannel has them. Adds the listening port; *bound_port is set by BuildAndStart (0: it could not be
// bound).
void PrepareServer(grpc::ServerBuilder* builder, const std::string& address, int* bound_port);

// Errors: InvalidArgument: `address` is not HOST:PORT, or its host is not a loopback address (other addresses need
// TLS and a token, which this version does not have).
absl::Status CheckLoopback(absl::string_view address);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CHANNEL_H_

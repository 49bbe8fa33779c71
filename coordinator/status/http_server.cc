// Every request takes the same way: CheckRequest, then Answer by its path. httplib's own routing (regular expressions
// over text from outside) is not used.
#include "coordinator/status/http_server.h"

#include <atomic>
#include <cerrno>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/channel.h"
#include "common/clock.h"
#include "common/logging.h"
#include "common/proto_json.h"
#include "common/status_macros.h"
#include "common/version.h"
#include "coordinator/status/metrics.h"
#include "coordinator/status/request_guard.h"
#include "coordinator/status/server_transport.h"
#include "coordinator/status/status_json.h"
#include "coordinator/status/status_page.h"

namespace penstock {
namespace {

constexpr char kHtml[] = "text/html; charset=utf-8";
constexpr char kJson[] = "application/json";
constexpr char kText[] = "text/plain; charset=utf-8";
constexpr char kMetrics[] = "text/plain; version=0.0.4; charset=utf-8";

struct Answer {
  int http_status;
  std::string type;
  std::string body;
};

// Pages are for people, JSON for programs: ?format= decides, else Accept, else it is HTML.
bool WantsJson(const httplib::Request& request) {
  if (request.has_param("format")) return request.get_param_value("format") == "json";
  const std::string accept = request.get_header_value("Accept");
  return absl::StrContains(accept, kJson) && !absl::StrContains(accept, "text/html");
}

int HttpStatusOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kInvalidArgument:
      return 400;
    default:
      return 503;
  }
}

Answer ErrorAnswer(const absl::Status& status, bool json) {
  const int code = HttpStatusOf(status);
  if (!json) return {code, kHtml, ErrorPage(code, std::string(status.message()))};
  return {code, kJson, JsonText({{"error", std::string(status.message())}}) + "\n"};
}

Answer HealthAnswer(const absl::Status& status) {
  if (status.ok()) return {200, kText, "ok\n"};
  return {503, kText, absl::StrCat(std::string(status.message()), "\n")};
}

Answer JobAnswer(const httplib::Request& request, absl::string_view job, const StatusSources& sources) {
  const absl::StatusOr<v1::GetReply> reply = sources.job(std::string(job));
  if (!reply.ok()) return ErrorAnswer(reply.status(), WantsJson(request));
  if (WantsJson(request)) return {200, kJson, JobJson(*reply)};
  return {200, kHtml, JobPage(*reply, Clock::Real()->Wall())};
}

Answer AnswerPath(const httplib::Request& request, const StatusSources& sources) {
  absl::string_view path = request.path;
  if (path == "/" || path == "/statusz") {
    const v1::ClusterStatus cluster = sources.cluster();
    if (WantsJson(request)) return {200, kJson, ClusterJson(cluster)};
    return {200, kHtml, ClusterPage(cluster, Clock::Real()->Wall())};
  }
  if (absl::ConsumePrefix(&path, "/jobs/") && !path.empty()) return JobAnswer(request, path, sources);
  if (path == "/livez") return HealthAnswer(absl::OkStatus());
  if (path == "/readyz" || path == "/healthz") return HealthAnswer(sources.ready());
  if (path == "/metrics") return {200, kMetrics, MetricsText(sources.cluster())};
  if (path == "/version") return {200, kJson, absl::StrCat("{\"version\": \"", kVersion, "\"}\n")};
  return ErrorAnswer(absl::NotFoundError("There is no such page. There are /statusz, /jobs/ID, /livez, /readyz, "
                                         "/healthz, /metrics and /version."),
                     WantsJson(request));
}

std::vector<std::string> HeaderValues(const httplib::Request& request, const char* name) {
  std::vector<std::string> values;
  const auto range = request.headers.equal_range(name);
  for (auto it = range.first; it != range.second; ++it) values.push_back(it->second);
  return values;
}

void Respond(const httplib::Request& request, const StatusSources& sources, httplib::Response* response) {
  const Refusal refusal = CheckRequest(request.method, HeaderValues(request, "Host"), HeaderValues(request, "Origin"));
  const Answer answer = refusal.http_status == 0
                            ? AnswerPath(request, sources)
                            : Answer{refusal.http_status, kText, absl::StrCat(refusal.reason, "\n")};
  response->status = answer.http_status;
  if (answer.http_status == 405) response->set_header("Allow", "GET");
  response->set_header("Cache-Control", "no-store");
  response->set_header("Content-Security-Policy",
                       "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
                       "form-action 'none'; frame-ancestors 'none'");
  response->set_header("Referrer-Policy", "no-referrer");
  response->set_header("X-Content-Type-Options", "nosniff");
  response->set_content(answer.body, answer.type.c_str());
}

class HttpStatusServer final : public StatusServer {
 public:
  explicit HttpStatusServer(StatusSources sources) : sources_(std::move(sources)) {
    // No SO_REUSEPORT, which is httplib's default: a second server on the port must be an error.
    server_.set_socket_options([](socket_t socket) {
      const int on = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    });
    server_.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      Respond(request, sources_, &response);
      return httplib::Server::HandlerResponse::Handled;
    });
  }

  ~HttpStatusServer() override {
    if (listener_.joinable()) server_.Stop();
    if (listener_.joinable()) listener_.join();
  }

  std::string Address() const override { return address_; }

  absl::Status Start(const std::string& address) {
    PENSTOCK_RETURN_IF_ERROR(CheckLoopback(address));
    const size_t colon = address.rfind(':');
    const std::string host = address.substr(0, colon);
    const std::string bare(absl::StripPrefix(absl::StripSuffix(host, "]"), "["));
    int port = 0;
    CHECK(absl::SimpleAtoi(address.substr(colon + 1), &port));
    errno = 0;
    const int bound = port == 0 ? server_.bind_to_any_port(bare) : server_.bind_to_port(bare, port) ? port : -1;
    if (bound <= 0) {
      const std::string reason = errno == EADDRINUSE ? std::string("the port is in use by another process")
                                                     : std::generic_category().message(errno);
      return absl::UnavailableError(absl::StrCat("cannot listen for HTTP on ", address, ": ", reason));
    }
    address_ = absl::StrCat(host, ":", bound);
    listener_ = std::thread([this] {
      server_.listen_after_bind();
      ended_ = true;
    });
    // stop() before the listener has begun would be lost.
    while (!server_.is_running() && !ended_) Clock::Real()->Sleep(absl::Milliseconds(1));
    return absl::OkStatus();
  }

 private:
  const StatusSources sources_;
  std::string address_;
  BoundedServer server_;
  std::atomic<bool> ended_{false};
  std::thread listener_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<StatusServer>> StartStatusServer(const std::string& address, StatusSources sources) {
  auto server = std::make_unique<HttpStatusServer>(std::move(sources));
  PENSTOCK_RETURN_IF_ERROR(server->Start(address));
  return server;
}

}  // namespace penstock

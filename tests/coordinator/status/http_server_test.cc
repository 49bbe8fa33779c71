// Requests over a real socket.
#include "coordinator/status/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "tests/coordinator/status/sample_cluster.h"

namespace penstock {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class HttpServerTest : public ::testing::Test {
 protected:
  HttpServerTest() {
    StatusSources sources;
    sources.cluster = [] { return SampleCluster(); };
    sources.job = [](const std::string& job) -> absl::StatusOr<v1::GetReply> {
      if (job != "kjv-1") return absl::NotFoundError("no job '" + job + "'; there is kjv-1");
      v1::GetReply reply;
      *reply.mutable_status() = RunningJob();
      return reply;
    };
    sources.ready = [this] { return ready_ ? absl::OkStatus() : absl::UnavailableError("1 of 2 workers registered"); };
    auto server = StartStatusServer("127.0.0.1:0", std::move(sources));
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  int Connect() {
    const std::string address = server_->Address();
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(::connect(socket, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
    return socket;
  }

  static void SendAll(int socket, const std::string& text) {
    for (size_t done = 0; done < text.size();) {
      const ssize_t put = ::send(socket, text.data() + done, text.size() - done, MSG_NOSIGNAL);
      if (put <= 0) return;  // refused in the middle: what the server says is read all the same
      done += static_cast<size_t>(put);
    }
  }

  static std::string ReceiveAll(int socket) {
    std::string text;
    char piece[4096];
    for (ssize_t got; (got = ::recv(socket, piece, sizeof(piece), 0)) > 0;) text.append(piece, got);
    ::close(socket);
    return text;
  }

  std::string Exchange(const std::string& request) {
    const int socket = Connect();
    SendAll(socket, request);
    return ReceiveAll(socket);
  }

  std::string Get(const std::string& path, const std::string& more_headers = "") {
    return Exchange("GET " + path + " HTTP/1.1\r\nHost: " + server_->Address() + "\r\n" + more_headers + "\r\n");
  }

  std::atomic<bool> ready_{true};
  std::unique_ptr<StatusServer> server_;
};

TEST_F(HttpServerTest, ServesPagesToPeopleAndJsonToPrograms) {
  EXPECT_THAT(Get("/statusz"), HasSubstr("Content-Type: text/html"));
  EXPECT_THAT(Get("/statusz", "Accept: text/html,application/json;q=0.9\r\n"), HasSubstr("<!doctype html>"));
  const std::string json = Get("/statusz", "Accept: application/json\r\n");
  EXPECT_THAT(json, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(json, HasSubstr("Content-Type: application/json"));
  EXPECT_THAT(json, HasSubstr("\"frames_sent\": 6401"));
  EXPECT_THAT(Get("/statusz?format=json"), HasSubstr("\"name\": \"lab\""));
  EXPECT_THAT(Get("/statusz?format=html", "Accept: application/json\r\n"), HasSubstr("<!doctype html>"));
}

TEST_F(HttpServerTest, ServesJobsByTheirId) {
  EXPECT_THAT(Get("/jobs/kjv-1"), HasSubstr("Job kjv-1"));
  EXPECT_THAT(Get("/jobs/kjv-1?format=json"), HasSubstr("\"state\": \"RUNNING\""));
  const std::string missing = Get("/jobs/nothing?format=json");
  EXPECT_THAT(missing, StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(missing, HasSubstr("{\"error\":\"no job 'nothing'; there is kjv-1\"}"));
  EXPECT_THAT(Get("/jobs/%3Cscript%3E"), Not(HasSubstr("<script")));
}

TEST_F(HttpServerTest, HealthFollowsTheWorkers) {
  EXPECT_THAT(Get("/livez"), EndsWith("ok\n"));
  EXPECT_THAT(Get("/readyz"), StartsWith("HTTP/1.1 200"));
  ready_ = false;
  EXPECT_THAT(Get("/livez"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(Get("/readyz"), StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(Get("/healthz"), EndsWith("1 of 2 workers registered\n"));
}

TEST_F(HttpServerTest, ServesMetricsAndVersion) {
  EXPECT_THAT(Get("/metrics"), HasSubstr("Content-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(Get("/metrics"), HasSubstr("penstock_workers{state=\"busy\"} 1"));
  EXPECT_THAT(Get("/version"), HasSubstr("\"version\": \"0.1.0\""));
}

TEST_F(HttpServerTest, RefusesWhatIsNotForIt) {
  EXPECT_THAT(Get("/nothing"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Get("/jobs/"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Get("/statusz/../../etc/passwd"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Exchange("GET /statusz HTTP/1.1\r\nHost: evil.example\r\n\r\n"), StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(Exchange("GET /statusz HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(Get("/statusz", "Origin: http://evil.example\r\n"), StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(Get("/statusz", "Origin: http://" + server_->Address() + "\r\n"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(Exchange("nonsense\r\n\r\n"), StartsWith("HTTP/1.1 400"));
}

TEST_F(HttpServerTest, AnswersNoMethodButGet) {
  for (const std::string method : {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"}) {
    const std::string answer =
        Exchange(method + " /statusz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 405")) << method;
    EXPECT_THAT(answer, HasSubstr("Allow: GET\r\n")) << method;
  }
}

TEST_F(HttpServerTest, EveryAnswerForbidsToEmbedCacheOrGuessIt) {
  for (const std::string& answer : {Get("/statusz"), Get("/nothing"), Get("/metrics")}) {
    EXPECT_THAT(answer, HasSubstr("Content-Security-Policy: default-src 'none'"));
    EXPECT_THAT(answer, HasSubstr("X-Content-Type-Options: nosniff"));
    EXPECT_THAT(answer, HasSubstr("Cache-Control: no-store"));
    EXPECT_THAT(answer, Not(HasSubstr("Access-Control-Allow-Origin")));
  }
}

TEST_F(HttpServerTest, EndlessHeadersAreCutOff) {
  const int socket = Connect();
  SendAll(socket, "GET /statusz HTTP/1.1\r\nHost: localhost\r\n");
  for (int i = 0; i < 100'000; ++i) SendAll(socket, "X-" + std::to_string(i) + ": y\r\n");
  EXPECT_THAT(ReceiveAll(socket), Not(StartsWith("HTTP/1.1 200")));
  EXPECT_THAT(Get("/livez"), EndsWith("ok\n"));
}

TEST_F(HttpServerTest, LongAndOddHeadersDoNotHurt) {
  EXPECT_THAT(Get("/" + std::string(20'000, 'a')), Not(StartsWith("HTTP/1.1 200")));
  Get("/livez", "Range: bytes=" + std::string(7000, '1') + "\r\n");
  std::string ranges = "Range: bytes=0-1";
  for (int i = 0; i < 1500; ++i) ranges += ",0-1";
  Get("/livez", ranges + "\r\n");
  Get("/livez", "Accept: " + std::string(8000, ',') + "\r\n");
  EXPECT_THAT(Get("/livez", "Connection: keep-alive\r\n"), EndsWith("ok\n"));
}

TEST_F(HttpServerTest, ManyClientsAtOnceAreAllAnswered) {
  std::atomic<int> answered{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([&] {
      for (int n = 0; n < 10; ++n) answered += Get("/statusz").rfind("HTTP/1.1 200", 0) == 0;
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(answered, 160);
}

TEST_F(HttpServerTest, SilentClientsDoNotKeepItFromEnding) {
  // More than it has threads: some are being served, some wait.
  std::vector<int> silent;
  for (int i = 0; i < 12; ++i) silent.push_back(Connect());
  const absl::Duration begin = Clock::Real()->Monotonic();
  server_.reset();
  EXPECT_LT(Clock::Real()->Monotonic() - begin, absl::Seconds(2)) << "less than one connection may last";
  for (const int socket : silent) ::close(socket);
}

TEST_F(HttpServerTest, APortInUseIsAnErrorThatNamesIt) {
  const auto second = StartStatusServer(server_->Address(), {});
  EXPECT_TRUE(absl::IsUnavailable(second.status())) << second.status();
  EXPECT_THAT(second.status().message(), HasSubstr(server_->Address() + ": the port is in use"));
}

TEST(StartStatusServerTest, ListensOnLoopbackOnly) {
  for (const char* address : {"0.0.0.0:0", "192.0.2.1:80", "example.com:80", "127.0.0.1", "127.0.0.1:x"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(StartStatusServer(address, {}).status())) << address;
  }
  const auto ipv6 = StartStatusServer("[::1]:0", {});
  if (!ipv6.ok()) GTEST_SKIP() << "this host has no IPv6 loopback: " << ipv6.status();
  EXPECT_THAT((*ipv6)->Address(), StartsWith("[::1]:"));
}

}  // namespace
}  // namespace penstock

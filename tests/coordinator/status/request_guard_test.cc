#include "coordinator/status/request_guard.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

TEST(RequestGuardTest, AcceptsNamesOfThisMachine) {
  for (const char* host :
       {"localhost", "LOCALHOST:7480", "127.0.0.1", "127.0.0.1:7480", "127.255.0.3:1", "[::1]", "[::1]:7480"}) {
    EXPECT_TRUE(IsLoopbackHost(host)) << host;
    EXPECT_EQ(CheckRequest("GET", {host}, {}).http_status, 0) << host;
  }
}

TEST(RequestGuardTest, RefusesAllOtherNames) {
  for (const char* host : {"", "evil.example", "evil.example:7480", "localhost.evil.example", "127.0.0.1.evil.example",
                           "127.0.0", "127.0.0.256", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:x", "128.0.0.1",
                           "0.0.0.0", "[::]", "[::1", "::1", "localhost:80:80", "localhost ", "127.0.0.+1"}) {
    EXPECT_FALSE(IsLoopbackHost(host)) << host;
    EXPECT_EQ(CheckRequest("GET", {host}, {}).http_status, 403) << host;
  }
}

TEST(RequestGuardTest, RefusesOtherMethodsAndAnUnclearHost) {
  EXPECT_EQ(CheckRequest("POST", {"localhost"}, {}).http_status, 405);
  EXPECT_EQ(CheckRequest("HEAD", {"localhost"}, {}).http_status, 405);
  EXPECT_EQ(CheckRequest("GET", {}, {}).http_status, 400);
  EXPECT_EQ(CheckRequest("GET", {"localhost", "localhost"}, {}).http_status, 400);
}

TEST(RequestGuardTest, RefusesPagesOfAnotherOrigin) {
  EXPECT_EQ(CheckRequest("GET", {"localhost:7480"}, {"http://localhost:7480"}).http_status, 0);
  for (const char* origin : {"http://evil.example", "http://localhost:3000", "https://localhost:7480", "null", ""}) {
    EXPECT_EQ(CheckRequest("GET", {"localhost:7480"}, {origin}).http_status, 403) << origin;
  }
  EXPECT_EQ(CheckRequest("GET", {"localhost:7480"}, {"http://localhost:7480", "http://evil.example"}).http_status, 403);
}

}  // namespace
}  // namespace penstock

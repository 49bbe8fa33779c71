#include "coordinator/status/request_guard.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace penstock {
namespace {

bool IsLoopbackIpv4(absl::string_view host) {
  const std::vector<absl::string_view> parts = absl::StrSplit(host, '.');
  if (parts.size() != 4 || parts[0] != "127") return false;
  return std::all_of(parts.begin(), parts.end(), [](absl::string_view part) {
    int value = 0;
    return !part.empty() && part.size() <= 3 && std::all_of(part.begin(), part.end(), absl::ascii_isdigit) &&
           absl::SimpleAtoi(part, &value) && value <= 255;
  });
}

bool IsPort(absl::string_view text) {
  int port = 0;
  return !text.empty() && text.size() <= 5 && std::all_of(text.begin(), text.end(), absl::ascii_isdigit) &&
         absl::SimpleAtoi(text, &port) && port <= 65535;
}

}  // namespace

bool IsLoopbackHost(absl::string_view host_and_port) {
  absl::string_view host = host_and_port;
  const size_t colon = host.rfind(':');
  // The last colon of "[::1]" belongs to the address.
  if (colon != absl::string_view::npos && !absl::EndsWith(host, "]")) {
    if (!IsPort(host.substr(colon + 1))) return false;
    host = host.substr(0, colon);
  }
  return absl::EqualsIgnoreCase(host, "localhost") || host == "[::1]" || IsLoopbackIpv4(host);
}

Refusal CheckRequest(absl::string_view method, const std::vector<std::string>& hosts,
                     const std::vector<std::string>& origins) {
  if (method != "GET") return {405, "only GET is answered here"};
  if (hosts.size() != 1) return {400, "exactly one Host header is needed"};
  if (!IsLoopbackHost(hosts[0])) return {403, "the Host header must name this machine: localhost or 127.0.0.1"};
  for (const std::string& origin : origins) {
    if (!absl::EqualsIgnoreCase(origin, absl::StrCat("http://", hosts[0]))) {
      return {403, "requests from pages of another origin are not answered"};
    }
  }
  return {};
}

}  // namespace penstock

#include "coordinator/jobs/root_cause.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace penstock {
namespace {

// A launcher hears of a child's end within milliseconds; this covers a busy host.
constexpr absl::Duration kGrace = absl::Milliseconds(300);

std::string Line(const Fault& fault) {
  return fault.where.empty() ? fault.what : absl::StrCat(fault.where, ": ", fault.what);
}

}  // namespace

Fault::Kind KindOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kFailedPrecondition:
      return Fault::Kind::kPeer;
    default:
      return Fault::Kind::kError;
  }
}

absl::Duration NameableAt(const std::vector<Fault>& faults, absl::Duration first, absl::Duration lost_after) {
  Fault::Kind best = Fault::Kind::kPeer;
  for (const Fault& fault : faults) best = std::min(best, fault.kind);
  switch (best) {
    case Fault::Kind::kExit:
    case Fault::Kind::kNotFinite:
      return first;
    case Fault::Kind::kError:
    case Fault::Kind::kSilent:
      return first + kGrace;
    case Fault::Kind::kPeer:
      break;
  }
  return first + lost_after + kGrace;
}

std::vector<std::string> FailureLines(std::vector<Fault> faults) {
  std::stable_sort(faults.begin(), faults.end(), [](const Fault& a, const Fault& b) { return a.kind < b.kind; });
  std::vector<std::string> lines;
  for (const Fault& fault : faults) {
    lines.push_back(lines.empty() ? Line(fault) : absl::StrCat("then: ", Line(fault)));
    for (const std::string& line : fault.evidence) lines.push_back(absl::StrCat("  | ", line));
  }
  return lines;
}

}  // namespace penstock

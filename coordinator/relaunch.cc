#include "coordinator/relaunch.h"

namespace penstock {
namespace {

// A process that lived this long had started properly; its end says nothing about the next one's.
constexpr absl::Duration kEarly = absl::Seconds(20);
constexpr absl::Duration kFirstPause = absl::Milliseconds(500);
// Pauses of 0.5, 1, 2, 4 s: a device that is not there stays away, a port or memory may come free.
constexpr int kMostEarlyEnds = 5;

}  // namespace

void Relaunch::Started(const std::string& id, absl::Duration now) {
  processes_[id].started = now;
  processes_[id].due.reset();
}

bool Relaunch::Ended(const std::string& id, absl::Duration now) {
  Process& process = processes_[id];
  process.early_ends = now - process.started < kEarly ? process.early_ends + 1 : 1;
  if (process.early_ends >= kMostEarlyEnds) return false;
  process.due = now + kFirstPause * (1 << (process.early_ends - 1));
  return true;
}

std::vector<std::string> Relaunch::TakeDue(absl::Duration now) {
  std::vector<std::string> due;
  for (auto& [id, process] : processes_) {
    if (!process.due.has_value() || *process.due > now) continue;
    process.due.reset();
    due.push_back(id);
  }
  return due;
}

}  // namespace penstock

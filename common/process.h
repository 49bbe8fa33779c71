// What each of the project's processes does first, and facts about itself. Call from main's thread.
#ifndef PENSTOCK_COMMON_PROCESS_H_
#define PENSTOCK_COMMON_PROCESS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace penstock {

// Tells the C library's allocator to keep its pages: gRPC's receive cost is page faults, and keeping pages
// doubles the throughput of 1 MiB messages. Source: docs/wire.md, "Pages".
void KeepPages();

// Turns off Abseil's search for lock-order cycles, which Debian's build does at every lock; our own locks are checked
// by clang's thread annotations and the race detector instead.
void SkipLockOrderSearch();

// Resident memory of this process, bytes.
uint64_t ResidentBytes();

// This host's name.
std::string HostName();

// A random text of 32 hex digits, from the operating system.
std::string RandomId();

}  // namespace penstock

#endif  // PENSTOCK_COMMON_PROCESS_H_

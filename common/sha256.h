// SHA-256. Thread-compatible.
#ifndef PENSTOCK_COMMON_SHA256_H_
#define PENSTOCK_COMMON_SHA256_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace penstock {

// The digest of what Update was given so far.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(const void* data, size_t bytes);
  // 64 lower-case hex digits. Call once, last.
  std::string HexDigest();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// 64 lower-case hex digits.
std::string Sha256Hex(absl::string_view data);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_SHA256_H_

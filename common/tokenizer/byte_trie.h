// Byte strings that are looked up by the front of a text. Thread-safe once built.
#ifndef PENSTOCK_COMMON_TOKENIZER_BYTE_TRIE_H_
#define PENSTOCK_COMMON_TOKENIZER_BYTE_TRIE_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace penstock {

class ByteTrie {
 public:
  // REQUIRES: key not empty, value >= 0. A key that is there keeps its first value.
  void Add(absl::string_view key, int32_t value);

  bool empty() const { return values_.size() == 1; }

  // Calls `found(bytes, value)` for each key that `text` begins with, shorter ones first.
  template <typename Found>
  void ForEachPrefix(absl::string_view text, Found found) const {
    uint32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      const auto next = edges_.find(Edge(node, text[i]));
      if (next == edges_.end()) return;
      node = next->second;
      if (values_[node] >= 0) found(i + 1, values_[node]);
    }
  }

 private:
  static uint64_t Edge(uint32_t node, char c) { return uint64_t{node} << 8 | static_cast<unsigned char>(c); }

  absl::flat_hash_map<uint64_t, uint32_t> edges_;
  std::vector<int32_t> values_ = {-1};  // by node; -1: no key ends there
};

inline void ByteTrie::Add(absl::string_view key, int32_t value) {
  uint32_t node = 0;
  for (const char c : key) {
    const auto [edge, added] = edges_.emplace(Edge(node, c), static_cast<uint32_t>(values_.size()));
    if (added) values_.push_back(-1);
    node = edge->second;
  }
  if (values_[node] < 0) values_[node] = value;
}

}  // namespace penstock

#endif  // PENSTOCK_COMMON_TOKENIZER_BYTE_TRIE_H_

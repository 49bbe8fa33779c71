#include "common/tokenizer/piece_normalizer.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/data/byte_order.h"
#include "common/tokenizer/utf8.h"

namespace penstock {
namespace {

// A unit of the double array (darts-clone): its label, whether a key ends after it, and where its children lie.
uint32_t Label(uint32_t unit) { return unit & (uint32_t{1} << 31 | 0xFF); }
bool HasLeaf(uint32_t unit) { return (unit >> 8 & 1) == 1; }
uint32_t Offset(uint32_t unit) { return (unit >> 10) << ((unit & uint32_t{1} << 9) >> 6); }
uint32_t Value(uint32_t unit) { return unit & ((uint32_t{1} << 31) - 1); }

}  // namespace

absl::StatusOr<PieceNormalizer> PieceNormalizer::Create(const sentencepiece::NormalizerSpec& spec,
                                                        const ByteTrie* user_defined) {
  PieceNormalizer normalizer;
  normalizer.add_dummy_prefix_ = spec.add_dummy_prefix();
  normalizer.remove_extra_spaces_ = spec.remove_extra_whitespaces();
  normalizer.escape_spaces_ = spec.escape_whitespaces();
  normalizer.user_defined_ = user_defined;
  const std::string& map = spec.precompiled_charsmap();
  if (map.empty()) return normalizer;
  const auto* raw = reinterpret_cast<const unsigned char*>(map.data());
  const uint64_t trie_bytes = map.size() < 4 ? 0 : LittleEndian32(raw);
  if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes > map.size() - 4 || map.back() != '\0') {
    return absl::InvalidArgumentError(absl::StrCat("its map of characters is damaged: ", map.size(),
                                                   " bytes, of which ", trie_bytes, " are said to be the rules"));
  }
  for (uint64_t at = 4; at < 4 + trie_bytes; at += 4) normalizer.units_.push_back(LittleEndian32(raw + at));
  normalizer.replacements_ = map.substr(4 + trie_bytes);
  return normalizer;
}

PieceNormalizer::Replaced PieceNormalizer::FindRule(absl::string_view text) const {
  Replaced longest{"", 0};
  if (units_.empty()) return longest;
  uint64_t node = Offset(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    if (node >= units_.size() || Label(units_[node]) != byte) break;
    const uint32_t unit = units_[node];
    node ^= Offset(unit);
    if (!HasLeaf(unit)) continue;
    if (node >= units_.size() || Value(units_[node]) >= replacements_.size()) break;
    // Ends in a zero byte: the map's last byte is one.
    longest = {absl::string_view(replacements_.c_str() + Value(units_[node])), i + 1};
  }
  return longest;
}

PieceNormalizer::Replaced PieceNormalizer::ReplaceFront(absl::string_view text) const {
  size_t kept = 0;
  user_defined_->ForEachPrefix(text, [&kept](size_t bytes, int32_t) { kept = bytes; });
  if (kept > 0) return {text.substr(0, kept), kept};
  const Replaced rule = FindRule(text);
  if (rule.bytes > 0) return rule;
  const size_t bytes = Utf8CharBytes(text);
  if (bytes == 0) return {kReplacementCharacter, 1};
  return {text.substr(0, bytes), bytes};
}

// 1. spaces at the front go  2. a space is put there  3. characters are replaced, one space stands for several
// 4. spaces at the end go. 1, 3 and 4 if the model removes extra spaces, 2 if it adds a prefix.
std::string PieceNormalizer::Normalize(absl::string_view text) const {
  const absl::string_view space = escape_spaces_ ? kPieceSpace : absl::string_view(" ");
  std::string normalized;
  while (remove_extra_spaces_ && !text.empty()) {
    const Replaced front = ReplaceFront(text);
    if (front.text != " ") break;
    text.remove_prefix(front.bytes);
  }
  if (text.empty()) return normalized;
  if (add_dummy_prefix_) absl::StrAppend(&normalized, space);
  bool after_space = remove_extra_spaces_;
  while (!text.empty()) {
    Replaced front = ReplaceFront(text);
    while (after_space && absl::ConsumePrefix(&front.text, " ")) {
    }
    for (const char c : front.text) {
      if (c == ' ') {
        absl::StrAppend(&normalized, space);
      } else {
        normalized.push_back(c);
      }
    }
    if (!front.text.empty()) after_space = remove_extra_spaces_ && absl::EndsWith(front.text, " ");
    text.remove_prefix(front.bytes);
  }
  while (remove_extra_spaces_ && absl::EndsWith(normalized, space)) normalized.resize(normalized.size() - space.size());
  return normalized;
}

}  // namespace penstock

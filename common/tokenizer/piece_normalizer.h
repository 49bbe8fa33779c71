// What sentencepiece does to a text before it is segmented: characters are replaced by the model's map, spaces are
// collected and written as U+2581. Thread-safe once built.
#ifndef PENSTOCK_COMMON_TOKENIZER_PIECE_NORMALIZER_H_
#define PENSTOCK_COMMON_TOKENIZER_PIECE_NORMALIZER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/tokenizer/byte_trie.h"
#include "common/tokenizer/sentencepiece_model.pb.h"

namespace penstock {

// U+2581: how a space is written in pieces.
inline constexpr absl::string_view kPieceSpace = "\xE2\x96\x81";

class PieceNormalizer {
 public:
  PieceNormalizer() = default;

  // Args:   user_defined: texts that the map leaves alone; outlives this.
  // Errors: InvalidArgument: the map of characters is damaged.
  static absl::StatusOr<PieceNormalizer> Create(const sentencepiece::NormalizerSpec& spec,
                                                const ByteTrie* user_defined);

  std::string Normalize(absl::string_view text) const;

  bool drops_first_space() const { return add_dummy_prefix_ || remove_extra_spaces_; }
  bool remove_extra_spaces() const { return remove_extra_spaces_; }

 private:
  // What the front of a text becomes, and how many of its bytes that takes.
  struct Replaced {
    absl::string_view text;
    size_t bytes;
  };
  Replaced ReplaceFront(absl::string_view text) const;
  // The longest rule that the front of the text matches: its bytes (0: none) and where its replacement begins.
  Replaced FindRule(absl::string_view text) const;

  bool add_dummy_prefix_ = true, remove_extra_spaces_ = true, escape_spaces_ = true;
  std::vector<uint32_t> units_;  // a double-array trie of the characters that are replaced
  std::string replacements_;     // texts that end in a zero byte
  const ByteTrie* user_defined_ = nullptr;
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_TOKENIZER_PIECE_NORMALIZER_H_

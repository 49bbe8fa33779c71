// sentencepiece models, unigram and bpe: the ids and the text of Google's library. Read by our own code: Debian's
// library brings an older protobuf of its own, and two of them do not get along in one process. Thread-safe once open.
// Source: docs/training.md, "Tokenizers"; Kudo and Richardson, "SentencePiece" (EMNLP 2018).
#ifndef PENSTOCK_COMMON_TOKENIZER_SENTENCEPIECE_H_
#define PENSTOCK_COMMON_TOKENIZER_SENTENCEPIECE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/tokenizer/byte_trie.h"
#include "common/tokenizer/piece_normalizer.h"
#include "common/tokenizer/sentencepiece_model.pb.h"
#include "common/tokenizer/tokenizer.h"

namespace penstock {

// A part of a normalized text, and the piece that it is.
struct Segment {
  absl::string_view text;
  int32_t id;
};

// The pieces of a model, as segmentation sees them.
struct Pieces {
  std::vector<std::string> texts;  // by id
  std::vector<float> scores;
  std::vector<sentencepiece::Model::Piece::Type> types;
  int32_t unknown = -1;
  float min_score = 0, max_score = 0;                        // of normal pieces
  absl::flat_hash_map<absl::string_view, int32_t> ids;       // normal, user-defined and unused ones
  absl::flat_hash_map<absl::string_view, int32_t> reserved;  // the others
  ByteTrie trie;                                             // of what `ids` has
  ByteTrie user_defined;

  bool Is(int32_t id, sentencepiece::Model::Piece::Type type) const { return types[id] == type; }
};

// The segments of largest summed score; a character that no piece has is unknown. O(length of text) for bounded pieces.
std::vector<Segment> SegmentUnigram(const Pieces& pieces, absl::string_view text);
// Characters, joined pair by pair: always the pair whose piece scores highest, of several the leftmost.
std::vector<Segment> SegmentBpe(const Pieces& pieces, absl::string_view text);

class SentencePieceTokenizer final : public Tokenizer {
 public:
  // Errors: NotFound: no such file. InvalidArgument: no model, a piece twice or empty, no unknown piece, byte pieces
  //         missing, a damaged map of characters, a kind that is not read.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Open(const std::string& path);
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Parse(const std::string& contents, const std::string& path);

  int64_t size() const override { return static_cast<int64_t>(pieces_.texts.size()); }
  // Text that is not UTF-8 is read as U+FFFD. Errors: InvalidArgument: the text is larger than MaxTextBytes.
  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text) const override;
  std::string Decode(absl::Span<const int64_t> tokens) const override;

 private:
  SentencePieceTokenizer() = default;
  absl::Status Load(const sentencepiece::Model& model);
  absl::Status LoadPieces(const sentencepiece::Model& model);
  absl::Status LoadBytes();
  // A token's text where it is no byte. Args: first: nothing but spaces stands before it.
  std::string TextOf(int32_t id, bool first, bool* took_space) const;

  Pieces pieces_;
  PieceNormalizer normalizer_;
  bool bpe_ = false;
  bool byte_fallback_ = false;
  std::string unknown_text_;
  int32_t byte_ids_[256] = {};
  absl::flat_hash_map<int32_t, char> bytes_;  // by id
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_TOKENIZER_SENTENCEPIECE_H_

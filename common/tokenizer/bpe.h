// Byte-level byte-pair encoding, as GPT-2 has it: the ids of Hugging Face's GPT-2 tokenizer. Thread-safe once open.
// Source: docs/training.md, "Tokenizers".
#ifndef PENSTOCK_COMMON_TOKENIZER_BPE_H_
#define PENSTOCK_COMMON_TOKENIZER_BPE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/tokenizer/tokenizer.h"
#include "common/tokenizer/word_splitter.h"

namespace penstock {

// 1. the text is cut at the special token <|endoftext|>, if the vocabulary has it
// 2. each piece is cut into words                                        (WordSplitter)
// 3. the bytes of a word are joined, pair by pair, in the order of the merges
// Bytes that are not UTF-8 are words of their own: every text reads back to the same bytes.
class BpeTokenizer final : public Tokenizer {
 public:
  // Reads FOLDER/vocab.json and FOLDER/merges.txt.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Open(const std::string& folder);
  // Args: names: of the two files, for errors.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Parse(absl::string_view vocab, absl::string_view merges,
                                                          const std::string& vocab_name,
                                                          const std::string& merges_name);

  int64_t size() const override { return static_cast<int64_t>(tokens_.size()); }
  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text) const override;
  std::string Decode(absl::Span<const int64_t> tokens) const override;

 private:
  struct Merge {
    int32_t rank, id;
  };
  // The ids of words that were met before.
  using Cache = absl::flat_hash_map<absl::string_view, std::vector<int32_t>>;

  explicit BpeTokenizer(WordSplitter splitter) : splitter_(std::move(splitter)) {}
  absl::Status ParseVocab(absl::string_view vocab, const std::string& name);
  absl::Status ParseMerges(absl::string_view merges, const std::string& name);
  const Merge* FindMerge(int32_t left, int32_t right) const;
  std::vector<int32_t> EncodeWord(absl::string_view word) const;

  WordSplitter splitter_;
  std::vector<std::string> tokens_;  // bytes, by id
  int32_t byte_ids_[256] = {};
  int32_t end_of_text_ = -1;  // -1: none
  absl::flat_hash_map<uint64_t, Merge> merges_;
  absl::flat_hash_map<std::string, int32_t> ids_;  // while parsing
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_TOKENIZER_BPE_H_

#include "common/tokenizer/bpe.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <queue>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/checkpoint/strict_json.h"
#include "common/file.h"
#include "common/status_macros.h"
#include "common/tokenizer/utf8.h"

namespace penstock {
namespace {

// GPT-2's files have 1 MB and 0.5 MB; a vocabulary of a million tokens some 30 MB.
constexpr size_t kMaxFileBytes = size_t{256} << 20;

constexpr absl::string_view kEndOfText = "<|endoftext|>";

// Words whose ids are remembered in one call of Encode: text repeats its words.
constexpr size_t kMaxCachedWords = size_t{1} << 16;
// Longer ones seldom return.
constexpr size_t kMaxCachedBytes = 64;

absl::Status Fault(const std::string& file, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(file, ": ", what));
}

// Vocabularies write bytes as characters that can be seen: those of Latin-1 that can stand for themselves, the others
// follow from U+0100 on.
class ByteAlphabet {
 public:
  ByteAlphabet() {
    uint32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool visible = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      bytes_[visible ? static_cast<uint32_t>(byte) : next++] = static_cast<char>(byte);
    }
  }

  // The bytes that a token's text stands for; false: it has a character that stands for none.
  bool ToBytes(absl::string_view text, std::string* bytes) const {
    bytes->clear();
    while (!text.empty()) {
      const size_t length = Utf8CharBytes(text);
      const auto found = length == 0 ? bytes_.end() : bytes_.find(Utf8CodePoint(text));
      if (found == bytes_.end()) return false;
      bytes->push_back(found->second);
      text.remove_prefix(length);
    }
    return true;
  }

 private:
  absl::flat_hash_map<uint32_t, char> bytes_;
};

const ByteAlphabet& Alphabet() {
  static const ByteAlphabet* const alphabet = new ByteAlphabet;
  return *alphabet;
}

uint64_t PairKey(int32_t left, int32_t right) {
  return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> BpeTokenizer::Open(const std::string& folder) {
  const std::string vocab_path = JoinPath(folder, "vocab.json"), merges_path = JoinPath(folder, "merges.txt");
  PENSTOCK_ASSIGN_OR_RETURN(const std::string vocab, ReadFile(vocab_path, kMaxFileBytes));
  PENSTOCK_ASSIGN_OR_RETURN(const std::string merges, ReadFile(merges_path, kMaxFileBytes));
  return Parse(vocab, merges, vocab_path, merges_path);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> BpeTokenizer::Parse(absl::string_view vocab, absl::string_view merges,
                                                               const std::string& vocab_name,
                                                               const std::string& merges_name) {
  PENSTOCK_ASSIGN_OR_RETURN(WordSplitter splitter, WordSplitter::Create());
  std::unique_ptr<BpeTokenizer> tokenizer(new BpeTokenizer(std::move(splitter)));
  PENSTOCK_RETURN_IF_ERROR(tokenizer->ParseVocab(vocab, vocab_name));
  PENSTOCK_RETURN_IF_ERROR(tokenizer->ParseMerges(merges, merges_name));
  tokenizer->ids_.clear();
  return tokenizer;
}

absl::Status BpeTokenizer::ParseVocab(absl::string_view vocab, const std::string& name) {
  const absl::StatusOr<nlohmann::json> json = ParseStrictJson(vocab, 1);
  if (!json.ok()) return Fault(name, json.status().message());
  if (!json->is_object() || json->empty()) return Fault(name, "is not a list of tokens with their numbers");
  const size_t count = json->size();
  tokens_.resize(count);
  std::vector<bool> taken(count, false);
  std::string bytes;
  for (const auto& [text, number] : json->items()) {
    if (!number.is_number_unsigned() || number.get<uint64_t>() >= count) {
      return Fault(name, absl::StrCat("token '", text, "' has the number ", number.dump(), "; the ", count,
                                      " tokens have the numbers 0 to ", count - 1));
    }
    const size_t id = number.get<size_t>();
    if (taken[id]) return Fault(name, absl::StrCat("two tokens have the number ", id));
    taken[id] = true;
    if (text == kEndOfText) end_of_text_ = static_cast<int32_t>(id);
    if (!Alphabet().ToBytes(text, &bytes)) {
      return Fault(name, absl::StrCat("token '", text, "' (", id, ") is not written in GPT-2's alphabet of bytes: ",
                                      "the vocabulary is not a byte-level one"));
    }
    tokens_[id] = bytes;
    ids_[bytes] = static_cast<int32_t>(id);
  }
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = ids_.find(std::string(1, static_cast<char>(byte)));
    if (found == ids_.end()) return Fault(name, absl::StrCat("has no token for byte ", byte));
    byte_ids_[byte] = found->second;
  }
  return absl::OkStatus();
}

absl::Status BpeTokenizer::ParseMerges(absl::string_view merges, const std::string& name) {
  std::string left, right;
  int32_t rank = 0;
  for (int line_number = 1; !merges.empty(); ++line_number) {
    const size_t end = merges.find('\n');
    absl::string_view line = merges.substr(0, end);
    merges.remove_prefix(end == absl::string_view::npos ? merges.size() : end + 1);
    absl::ConsumeSuffix(&line, "\r");
    if (line.empty() || (line_number == 1 && absl::StartsWith(line, "#version"))) continue;
    const std::string place = absl::StrCat(name, ":", line_number);
    const size_t space = line.find(' ');
    const bool pair = space != absl::string_view::npos && Alphabet().ToBytes(line.substr(0, space), &left) &&
                      Alphabet().ToBytes(line.substr(space + 1), &right) && !left.empty() && !right.empty();
    if (!pair) return Fault(place, absl::StrCat("'", line.substr(0, 80), "' is not two tokens with a space between"));
    int32_t ids[3];
    const std::string texts[3] = {left, right, left + right};
    for (int i = 0; i < 3; ++i) {
      const auto found = ids_.find(texts[i]);
      if (found == ids_.end()) {
        return Fault(place,
                     absl::StrCat(i == 2 ? "what '" : "a part of '", line.substr(0, 80), i == 2 ? "' makes" : "'",
                                  " is not in the vocabulary: the files do not ", "belong together"));
      }
      ids[i] = found->second;
    }
    if (!merges_.emplace(PairKey(ids[0], ids[1]), Merge{rank++, ids[2]}).second) {
      return Fault(place, absl::StrCat("'", line.substr(0, 80), "' stands there twice"));
    }
  }
  return absl::OkStatus();
}

const BpeTokenizer::Merge* BpeTokenizer::FindMerge(int32_t left, int32_t right) const {
  const auto found = merges_.find(PairKey(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

// Each time the pair of the lowest rank is joined, of several the leftmost. A heap holds the pairs, so that a word of n
// bytes takes n log n; a pair of which a part was joined since is passed over.
std::vector<int32_t> BpeTokenizer::EncodeWord(absl::string_view word) const {
  struct Symbol {
    int32_t id;  // -1: was joined to the one before it
    int previous, next;
  };
  struct Pair {
    int32_t rank;
    int left;
    int32_t left_id, right_id;
    bool operator>(const Pair& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
  };
  const int count = static_cast<int>(word.size());
  std::vector<Symbol> symbols;
  for (int i = 0; i < count; ++i) {
    symbols.push_back({byte_ids_[static_cast<unsigned char>(word[i])], i - 1, i + 1 < count ? i + 1 : -1});
  }
  std::priority_queue<Pair, std::vector<Pair>, std::greater<>> pairs;
  const auto add = [&](int left) {
    const int right = left < 0 ? -1 : symbols[left].next;
    if (right < 0) return;
    const Merge* merge = FindMerge(symbols[left].id, symbols[right].id);
    if (merge != nullptr) pairs.push({merge->rank, left, symbols[left].id, symbols[right].id});
  };
  for (int i = 0; i < count; ++i) add(i);
  while (!pairs.empty()) {
    const Pair pair = pairs.top();
    pairs.pop();
    Symbol& left = symbols[pair.left];
    if (left.id != pair.left_id || left.next < 0 || symbols[left.next].id != pair.right_id) continue;
    Symbol& right = symbols[left.next];
    left.id = FindMerge(left.id, right.id)->id;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) symbols[left.next].previous = pair.left;
    add(left.previous);
    add(pair.left);
  }
  std::vector<int32_t> ids;
  for (int i = count > 0 ? 0 : -1; i >= 0; i = symbols[i].next) ids.push_back(symbols[i].id);
  return ids;
}

absl::StatusOr<std::vector<int32_t>> BpeTokenizer::Encode(absl::string_view text) const {
  std::vector<int32_t> ids;
  Cache cache;
  const auto encode_word = [&](absl::string_view word) {
    const auto known = cache.find(word);
    if (known != cache.end()) {
      ids.insert(ids.end(), known->second.begin(), known->second.end());
      return;
    }
    std::vector<int32_t> of_word = EncodeWord(word);
    ids.insert(ids.end(), of_word.begin(), of_word.end());
    if (cache.size() < kMaxCachedWords && word.size() <= kMaxCachedBytes) cache.emplace(word, std::move(of_word));
  };
  while (true) {
    const size_t special = end_of_text_ < 0 ? absl::string_view::npos : text.find(kEndOfText);
    PENSTOCK_RETURN_IF_ERROR(splitter_.Split(text.substr(0, special), encode_word));
    if (special == absl::string_view::npos) return ids;
    ids.push_back(end_of_text_);
    text.remove_prefix(special + kEndOfText.size());
  }
}

std::string BpeTokenizer::Decode(absl::Span<const int64_t> tokens) const {
  std::string text;
  for (const int64_t token : tokens) {
    const bool known = token >= 0 && token < size();
    absl::StrAppend(&text, known ? absl::string_view(tokens_[static_cast<size_t>(token)]) : kReplacementCharacter);
  }
  return text;
}

}  // namespace penstock

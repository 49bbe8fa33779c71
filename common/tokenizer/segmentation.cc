// The two ways of sentencepiece to cut a normalized text into pieces. Sums and comparisons are those of Google's
// library, so that ties fall the same way.
#include <algorithm>
#include <queue>
#include <utility>

#include "common/tokenizer/sentencepiece.h"
#include "common/tokenizer/utf8.h"

namespace penstock {
namespace {

using Type = sentencepiece::Model::Piece;

// How much worse than the worst piece an unknown character is.
constexpr float kUnknownPenalty = 10.0f;

// Bytes of the character at the front; the normalizer leaves none that is not UTF-8.
size_t CharBytes(absl::string_view text) { return std::max<size_t>(Utf8CharBytes(text), 1); }

}  // namespace

std::vector<Segment> SegmentUnigram(const Pieces& pieces, absl::string_view text) {
  struct Best {
    int32_t id = -1;
    float score = 0;
    ptrdiff_t begin = -1;  // -1: no path ends here yet
  };
  std::vector<Best> best(text.size() + 1);
  const float unknown_score = pieces.min_score - kUnknownPenalty;
  for (size_t begin = 0; begin < text.size();) {
    const absl::string_view rest = text.substr(begin);
    const size_t one = CharBytes(rest);
    const float so_far = best[begin].score;
    const auto reach = [&](size_t bytes, int32_t id, double score) {
      Best& there = best[begin + bytes];
      const double candidate = score + so_far;
      if (there.begin >= 0 && candidate <= there.score) return;
      there = {id, static_cast<float>(candidate), static_cast<ptrdiff_t>(begin)};
    };
    bool has_one = false;
    pieces.trie.ForEachPrefix(rest, [&](size_t bytes, int32_t id) {
      if (pieces.Is(id, Type::UNUSED)) return;
      // A user-defined piece is better than whatever covers the same text.
      const bool always = pieces.Is(id, Type::USER_DEFINED);
      if (always) {
        reach(bytes, id, static_cast<float>(bytes) * pieces.max_score - 0.1);
      } else {
        reach(bytes, id, pieces.scores[id]);
      }
      has_one = has_one || bytes == one;
    });
    if (!has_one) reach(one, pieces.unknown, unknown_score);
    begin += one;
  }
  std::vector<Segment> segments;
  for (auto end = static_cast<ptrdiff_t>(text.size()); end > 0; end = best[end].begin) {
    const ptrdiff_t begin = best[end].begin;
    segments.push_back({text.substr(begin, end - begin), best[end].id});
  }
  std::reverse(segments.begin(), segments.end());
  return segments;
}

namespace {

class BpeSegmentation {
 public:
  BpeSegmentation(const Pieces& pieces, absl::string_view text) : pieces_(pieces) {
    // At most as many as there are characters: in UTF-8 each has one byte that is not 10xxxxxx. Growing by doubling
    // would hold three times as much for a moment.
    symbols_.reserve(static_cast<size_t>(std::count_if(
        text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; })));
    while (!text.empty()) {
      size_t bytes = 0;
      pieces_.user_defined.ForEachPrefix(text, [&bytes](size_t longer, int32_t) { bytes = longer; });
      const bool frozen = bytes > 0;
      if (!frozen) bytes = CharBytes(text);
      const int index = static_cast<int>(symbols_.size());
      symbols_.push_back({text.substr(0, bytes), index - 1, index + 1, frozen});
      text.remove_prefix(bytes);
    }
    if (!symbols_.empty()) symbols_.back().next = -1;
  }

  std::vector<Segment> Run() {
    for (size_t i = 1; i < symbols_.size(); ++i) Propose(static_cast<int>(i) - 1, static_cast<int>(i));
    while (!pairs_.empty()) {
      const Pair pair = pairs_.top();
      pairs_.pop();
      Symbol &left = symbols_[pair.left], &right = symbols_[pair.right];
      // A pair of which a part was joined since is passed over.
      if (left.text.empty() || right.text.empty() || left.text.size() + right.text.size() != pair.bytes) continue;
      left.text = absl::string_view(left.text.data(), pair.bytes);
      left.next = right.next;
      if (right.next >= 0) symbols_[right.next].previous = pair.left;
      right.text = "";
      Propose(left.previous, pair.left);
      Propose(pair.left, left.next);
    }
    std::vector<Segment> segments;
    for (int i = symbols_.empty() ? -1 : 0; i >= 0; i = symbols_[i].next) Take(symbols_[i].text, &segments);
    return segments;
  }

 private:
  struct Symbol {
    absl::string_view text;
    int previous, next;
    bool frozen;
  };
  struct Pair {
    int left, right;
    float score;
    size_t bytes;
    bool operator<(const Pair& other) const {
      return score < other.score || (score == other.score && left > other.left);
    }
  };

  void Propose(int left, int right) {
    if (left < 0 || right < 0 || symbols_[left].frozen || symbols_[right].frozen) return;
    const absl::string_view first = symbols_[left].text, second = symbols_[right].text;
    const absl::string_view joined(first.data(), first.size() + second.size());
    const auto found = pieces_.ids.find(joined);
    if (found == pieces_.ids.end()) return;
    pairs_.push({left, right, pieces_.scores[found->second], joined.size()});
    if (pieces_.Is(found->second, Type::UNUSED)) parts_[joined] = {first, second};
  }

  // An unused piece only led to longer ones: where it is left over, it is taken apart again.
  void Take(absl::string_view text, std::vector<Segment>* segments) const {
    std::vector<absl::string_view> left = {text};
    while (!left.empty()) {
      const absl::string_view next = left.back();
      left.pop_back();
      const int32_t id = IdOf(next);
      const auto parts = pieces_.Is(id, Type::UNUSED) ? parts_.find(next) : parts_.end();
      if (parts == parts_.end()) {
        segments->push_back({next, id});
      } else {
        left.push_back(parts->second.second);
        left.push_back(parts->second.first);
      }
    }
  }

  int32_t IdOf(absl::string_view text) const {
    const auto reserved = pieces_.reserved.find(text);
    if (reserved != pieces_.reserved.end()) return reserved->second;
    const auto found = pieces_.ids.find(text);
    return found == pieces_.ids.end() ? pieces_.unknown : found->second;
  }

  const Pieces& pieces_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Pair> pairs_;
  absl::flat_hash_map<absl::string_view, std::pair<absl::string_view, absl::string_view>> parts_;
};

}  // namespace

std::vector<Segment> SegmentBpe(const Pieces& pieces, absl::string_view text) {
  return BpeSegmentation(pieces, text).Run();
}

}  // namespace penstock

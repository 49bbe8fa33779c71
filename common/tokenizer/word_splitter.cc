#define PCRE2_CODE_UNIT_WIDTH 8
#include "common/tokenizer/word_splitter.h"

#include <pcre2.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/tokenizer/utf8.h"

namespace penstock {
namespace {

// GPT-2's expression. Its \s is Unicode's White_Space, which PCRE2's is not quite (U+180E): hence spelled out.
constexpr char kSpaces[] =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

std::string Expression() {
  return absl::StrCat(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^)", kSpaces, R"(\p{L}\p{N}]+|[)", kSpaces,
                      "]+(?![^", kSpaces, "])|[", kSpaces, "]+");
}

absl::Status Failed(int error, absl::string_view what) {
  PCRE2_UCHAR text[128];
  if (pcre2_get_error_message(error, text, sizeof(text)) < 0) text[0] = 0;
  const std::string message = absl::StrCat(what, ": ", reinterpret_cast<const char*>(text));
  return error == PCRE2_ERROR_NOMEMORY ? absl::ResourceExhaustedError(message) : absl::InternalError(message);
}

}  // namespace

struct WordSplitter::Code {
  explicit Code(pcre2_code* code) : compiled(code) {}
  ~Code() { pcre2_code_free(compiled); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  pcre2_code* const compiled;
};

absl::StatusOr<WordSplitter> WordSplitter::Create() {
  const std::string expression = Expression();
  int error = 0;
  size_t place = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                                       PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &error, &place, nullptr);
  if (compiled == nullptr) return Failed(error, absl::StrCat("the expression of words, at ", place));
  // Where the system allows no code to be made at run time, matching is slower, and the same.
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  return WordSplitter(std::make_shared<const Code>(compiled));
}

absl::Status WordSplitter::Split(absl::string_view text, const std::function<void(absl::string_view)>& word) const {
  while (!text.empty()) {
    size_t good = 0, bytes = 0;
    while ((bytes = Utf8CharBytes(text.substr(good))) > 0) good += bytes;
    if (const absl::Status status = SplitUtf8(text.substr(0, good), word); !status.ok()) return status;
    size_t bad = good;
    while (bad < text.size() && Utf8CharBytes(text.substr(bad)) == 0) ++bad;
    if (bad > good) word(text.substr(good, bad - good));
    text.remove_prefix(bad);
  }
  return absl::OkStatus();
}

absl::Status WordSplitter::SplitUtf8(absl::string_view text, const std::function<void(absl::string_view)>& word) const {
  if (text.empty()) return absl::OkStatus();
  const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> match(
      pcre2_match_data_create_from_pattern(code_->compiled, nullptr), &pcre2_match_data_free);
  if (match == nullptr) return absl::ResourceExhaustedError("out of memory while cutting a text into words");
  size_t at = 0;
  while (at < text.size()) {
    // Checked to be UTF-8 already: checking again at each word would take time by the square of the length.
    const int found = pcre2_match(code_->compiled, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                  PCRE2_NO_UTF_CHECK, match.get(), nullptr);
    if (found < 0) return Failed(found, absl::StrCat("cutting a text into words, at byte ", at));
    const size_t end = pcre2_get_ovector_pointer(match.get())[1];
    if (end <= at) return absl::InternalError(absl::StrCat("cutting a text into words: none at byte ", at));
    word(text.substr(at, end - at));
    at = end;
  }
  return absl::OkStatus();
}

}  // namespace penstock

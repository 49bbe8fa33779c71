#include "common/tokenizer/sentencepiece.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/file.h"
#include "common/status_macros.h"
#include "common/tokenizer/utf8.h"

namespace penstock {
namespace {

using Type = sentencepiece::Model::Piece;

// Llama's has 0.5 MB, those of a million pieces some 20 MB.
constexpr size_t kMaxFileBytes = size_t{256} << 20;

// "<0x41>".
std::string BytePiece(int byte) { return absl::StrFormat("<0x%02X>", byte); }

// The characters of bytes that tokens stand for; what is none is U+FFFD, a byte each.
std::string CharactersOf(absl::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const size_t length = Utf8CharBytes(bytes);
    absl::StrAppend(&text, length == 0 ? kReplacementCharacter : bytes.substr(0, length));
    bytes.remove_prefix(std::max<size_t>(length, 1));
  }
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> SentencePieceTokenizer::Open(const std::string& path) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::string contents, ReadFile(path, kMaxFileBytes));
  return Parse(contents, path);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> SentencePieceTokenizer::Parse(const std::string& contents,
                                                                         const std::string& path) {
  sentencepiece::Model model;
  if (!model.ParseFromString(contents) || model.pieces().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not a sentencepiece model, or a damaged one"));
  }
  std::unique_ptr<SentencePieceTokenizer> tokenizer(new SentencePieceTokenizer);
  PENSTOCK_RETURN_IF_ERROR(Annotate(tokenizer->Load(model), path));
  return tokenizer;
}

absl::Status SentencePieceTokenizer::Load(const sentencepiece::Model& model) {
  const sentencepiece::TrainerSpec& trainer = model.trainer_spec();
  using sentencepiece::TrainerSpec;
  if (trainer.model_type() != TrainerSpec::UNIGRAM && trainer.model_type() != TrainerSpec::BPE) {
    return absl::InvalidArgumentError(absl::StrCat(
        "is a model of the kind ", TrainerSpec::ModelType_Name(trainer.model_type()), "; UNIGRAM and BPE are read"));
  }
  if (trainer.treat_whitespace_as_suffix()) {
    return absl::InvalidArgumentError("writes a space behind its word (treat_whitespace_as_suffix): not read");
  }
  if (!model.denormalizer_spec().precompiled_charsmap().empty()) {
    return absl::InvalidArgumentError("replaces characters when it decodes (denormalizer_spec): not read");
  }
  bpe_ = trainer.model_type() == TrainerSpec::BPE;
  byte_fallback_ = trainer.byte_fallback();
  unknown_text_ = trainer.unk_surface();
  PENSTOCK_RETURN_IF_ERROR(LoadPieces(model));
  PENSTOCK_RETURN_IF_ERROR(LoadBytes());
  PENSTOCK_ASSIGN_OR_RETURN(normalizer_, PieceNormalizer::Create(model.normalizer_spec(), &pieces_.user_defined));
  return absl::OkStatus();
}

absl::Status SentencePieceTokenizer::LoadPieces(const sentencepiece::Model& model) {
  const int count = model.pieces_size();
  // The maps below point into these.
  pieces_.texts.reserve(static_cast<size_t>(count));
  bool has_normal = false;
  for (int32_t id = 0; id < count; ++id) {
    const sentencepiece::Model::Piece& piece = model.pieces(id);
    if (piece.piece().empty()) return absl::InvalidArgumentError(absl::StrCat("piece ", id, " is empty"));
    if (!std::isfinite(piece.score())) {
      return absl::InvalidArgumentError(absl::StrCat("piece ", id, " has the score ", piece.score()));
    }
    pieces_.texts.push_back(piece.piece());
    pieces_.scores.push_back(piece.score());
    pieces_.types.push_back(piece.type());
    const std::string& text = pieces_.texts.back();
    const bool is_text =
        piece.type() == Type::NORMAL || piece.type() == Type::USER_DEFINED || piece.type() == Type::UNUSED;
    if (!(is_text ? pieces_.ids : pieces_.reserved).emplace(text, id).second) {
      return absl::InvalidArgumentError(absl::StrCat("piece '", text, "' stands there twice (", id, ")"));
    }
    if (is_text) pieces_.trie.Add(text, id);
    if (piece.type() == Type::USER_DEFINED) pieces_.user_defined.Add(text, id);
    if (piece.type() == Type::UNKNOWN) {
      if (pieces_.unknown >= 0) return absl::InvalidArgumentError("has two unknown pieces");
      pieces_.unknown = id;
    }
    if (piece.type() != Type::NORMAL) continue;
    pieces_.min_score = has_normal ? std::min(pieces_.min_score, piece.score()) : piece.score();
    pieces_.max_score = has_normal ? std::max(pieces_.max_score, piece.score()) : piece.score();
    has_normal = true;
  }
  if (pieces_.unknown < 0) return absl::InvalidArgumentError("has no piece for what is unknown");
  return absl::OkStatus();
}

absl::Status SentencePieceTokenizer::LoadBytes() {
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = pieces_.reserved.find(BytePiece(byte));
    const bool there = found != pieces_.reserved.end() && pieces_.Is(found->second, Type::BYTE);
    if (there) {
      byte_ids_[byte] = found->second;
      bytes_[found->second] = static_cast<char>(byte);
    } else if (byte_fallback_) {
      return absl::InvalidArgumentError(absl::StrCat("has no piece ", BytePiece(byte), ", which byte_fallback needs"));
    }
  }
  for (size_t id = 0; id < pieces_.texts.size(); ++id) {
    const auto number = static_cast<int32_t>(id);
    if (!pieces_.Is(number, Type::BYTE) || (byte_fallback_ && bytes_.contains(number))) continue;
    return absl::InvalidArgumentError(absl::StrCat("has the byte piece '", pieces_.texts[id], "' (", id, "), which ",
                                                   byte_fallback_ ? "is none" : "only byte_fallback has"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> SentencePieceTokenizer::Encode(absl::string_view text) const {
  if (text.size() > MaxTextBytes(v1::Tokenizer::SENTENCEPIECE)) {
    return absl::InvalidArgumentError(absl::StrCat("a text of ", text.size(), " bytes: sentencepiece takes at most ",
                                                   MaxTextBytes(v1::Tokenizer::SENTENCEPIECE), " at once"));
  }
  const std::string normalized = normalizer_.Normalize(text);
  const std::vector<Segment> segments = bpe_ ? SegmentBpe(pieces_, normalized) : SegmentUnigram(pieces_, normalized);
  std::vector<int32_t> ids;
  bool after_unknown = false;
  for (const Segment& segment : segments) {
    const bool unknown = segment.id == pieces_.unknown;
    if (unknown && byte_fallback_) {
      for (const char c : segment.text) ids.push_back(byte_ids_[static_cast<unsigned char>(c)]);
    } else if (!unknown || !after_unknown) {
      // Several unknown ones in a row are one.
      ids.push_back(segment.id);
    }
    after_unknown = unknown;
  }
  return ids;
}

std::string SentencePieceTokenizer::TextOf(int32_t id, bool first, bool* took_space) const {
  *took_space = false;
  if (pieces_.Is(id, Type::CONTROL)) return "";
  if (id == pieces_.unknown) return unknown_text_;
  absl::string_view piece = pieces_.texts[static_cast<size_t>(id)];
  if (first && normalizer_.drops_first_space()) {
    *took_space = absl::ConsumePrefix(&piece, kPieceSpace) && !normalizer_.remove_extra_spaces();
  }
  return absl::StrReplaceAll(piece, {{kPieceSpace, " "}});
}

std::string SentencePieceTokenizer::Decode(absl::Span<const int64_t> tokens) const {
  std::string text, bytes;
  bool first = true, took_space = false;
  for (const int64_t token : tokens) {
    const bool known = token >= 0 && token < size();
    const auto byte = known ? bytes_.find(static_cast<int32_t>(token)) : bytes_.end();
    if (byte != bytes_.end()) {
      bytes.push_back(byte->second);
      continue;
    }
    absl::StrAppend(&text, CharactersOf(std::exchange(bytes, "")));
    if (took_space || !text.empty()) first = false;
    absl::StrAppend(
        &text, known ? TextOf(static_cast<int32_t>(token), first, &took_space) : std::string(kReplacementCharacter));
  }
  return absl::StrCat(text, CharactersOf(bytes));
}

}  // namespace penstock

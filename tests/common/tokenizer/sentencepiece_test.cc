#include "common/tokenizer/sentencepiece.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tests/common/scratch_dir.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Piece = sentencepiece::Model::Piece;

// <unk>, then normal pieces with their scores.
sentencepiece::Model ModelOf(const std::vector<std::pair<std::string, float>>& pieces) {
  sentencepiece::Model model;
  model.add_pieces()->set_piece("<unk>");
  model.mutable_pieces(0)->set_type(Piece::UNKNOWN);
  for (const auto& [text, score] : pieces) {
    Piece* piece = model.add_pieces();
    piece->set_piece(text);
    piece->set_score(score);
  }
  model.mutable_normalizer_spec()->set_add_dummy_prefix(false);
  return model;
}

std::unique_ptr<Tokenizer> Open(const sentencepiece::Model& model) {
  auto parsed = SentencePieceTokenizer::Parse(model.SerializeAsString(), "m.model");
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return *std::move(parsed);
}

std::string FaultOf(const std::function<void(sentencepiece::Model*)>& spoil) {
  sentencepiece::Model model = ModelOf({{"a", -1}, {"b", -2}});
  spoil(&model);
  const auto parsed = SentencePieceTokenizer::Parse(model.SerializeAsString(), "m.model");
  EXPECT_TRUE(absl::IsInvalidArgument(parsed.status())) << parsed.status();
  return std::string(parsed.status().message());
}

TEST(SentencePieceTest, TakesTheCutOfTheLargestScore) {
  const auto tokenizer = Open(ModelOf({{"a", -1}, {"b", -1}, {"ab", -1.5f}, {"abb", -4}}));
  EXPECT_THAT(*tokenizer->Encode("abb"), ElementsAre(3, 2));
  EXPECT_THAT(*tokenizer->Encode("axyb"), ElementsAre(1, 0, 2)) << "unknown characters in a row are one token";
  EXPECT_EQ(tokenizer->Decode({3, 0, 2, 99}), "ab \u2047 b\uFFFD");
}

TEST(SentencePieceTest, TakesNoTextThatWouldFillTheMemory) {
  const auto tokenizer = Open(ModelOf({{"a", -1}}));
  const std::string text(MaxTextBytes(v1::Tokenizer::SENTENCEPIECE) + 1, 'a');
  const absl::Status refused = tokenizer->Encode(text).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("sentencepiece takes at most 16777216 at once"));
}

TEST(SentencePieceTest, TheBestCutIsThatOfAllCuts) {
  std::mt19937 random(11);
  for (int round = 0; round < 100; ++round) {
    std::vector<std::pair<std::string, float>> pieces = {{"a", -3}, {"b", -3.5f}};
    for (const char* text : {"ab", "ba", "aa", "aab", "bab", "abba"}) {
      if (random() % 2 == 0) pieces.emplace_back(text, -1 - static_cast<float>(random() % 1000) / 100);
    }
    const auto tokenizer = Open(ModelOf(pieces));
    std::string text;
    for (size_t i = random() % 10; i > 0; --i) text += random() % 2 == 0 ? 'a' : 'b';
    std::function<float(size_t)> best = [&](size_t from) {
      if (from == text.size()) return 0.0f;
      float score = -1e9f;
      for (const auto& [piece, of_piece] : pieces) {
        if (text.compare(from, piece.size(), piece) == 0) score = std::max(score, of_piece + best(from + piece.size()));
      }
      return score;
    };
    float got = 0;
    std::string joined;
    const auto ids = tokenizer->Encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status();
    for (const int32_t id : *ids) {
      got += pieces[id - 1].second;
      joined += pieces[id - 1].first;
    }
    EXPECT_EQ(joined, text);
    EXPECT_NEAR(got, best(0), 1e-4) << text;
  }
}

TEST(SentencePieceTest, AnUnusedPieceIsTakenApartAgain) {
  sentencepiece::Model model = ModelOf({{"a", -10}, {"b", -11}, {"c", -12}, {"ab", -1}, {"abc", -2}});
  model.mutable_trainer_spec()->set_model_type(sentencepiece::TrainerSpec::BPE);
  model.mutable_pieces(4)->set_type(Piece::UNUSED);
  const auto tokenizer = Open(model);
  EXPECT_THAT(*tokenizer->Encode("abc"), ElementsAre(5)) << "it leads to longer pieces";
  EXPECT_THAT(*tokenizer->Encode("abb"), ElementsAre(1, 2, 2));
}

TEST(SentencePieceTest, TextThatIsNotUtf8IsReadAsReplacementCharacters) {
  const auto tokenizer = Open(ModelOf({{"a", -1}, {"\uFFFD", -1}}));
  EXPECT_THAT(*tokenizer->Encode("a\xff\xc3"), ElementsAre(1, 2, 2));
}

TEST(SentencePieceTest, RefusesModelsThatAreNone) {
  EXPECT_TRUE(absl::IsInvalidArgument(SentencePieceTokenizer::Parse("", "m").status()));
  EXPECT_EQ(SentencePieceTokenizer::Parse("no model", "m").status().message(),
            "m: is not a sentencepiece model, or a damaged one");
  EXPECT_EQ(FaultOf([](auto* m) { m->mutable_pieces(1)->set_piece(""); }), "m.model: piece 1 is empty");
  EXPECT_EQ(FaultOf([](auto* m) { m->mutable_pieces(1)->set_piece("b"); }),
            "m.model: piece 'b' stands there twice (2)");
  EXPECT_EQ(FaultOf([](auto* m) { m->mutable_pieces(0)->set_type(Piece::NORMAL); }),
            "m.model: has no piece for what is unknown");
  EXPECT_EQ(FaultOf([](auto* m) { m->mutable_pieces(2)->set_type(Piece::UNKNOWN); }),
            "m.model: has two unknown pieces");
  EXPECT_THAT(FaultOf([](auto* m) { m->mutable_pieces(1)->set_score(NAN); }), HasSubstr("piece 1 has the score nan"));
  EXPECT_EQ(FaultOf([](auto* m) { m->mutable_trainer_spec()->set_byte_fallback(true); }),
            "m.model: has no piece <0x00>, which byte_fallback needs");
  EXPECT_THAT(FaultOf([](auto* m) { m->mutable_pieces(1)->set_type(Piece::BYTE); }), HasSubstr("byte piece 'a'"));
  EXPECT_THAT(FaultOf([](auto* m) { m->mutable_trainer_spec()->set_model_type(sentencepiece::TrainerSpec::WORD); }),
              HasSubstr("of the kind WORD; UNIGRAM and BPE are read"));
  EXPECT_THAT(FaultOf([](auto* m) { m->mutable_trainer_spec()->set_treat_whitespace_as_suffix(true); }),
              HasSubstr("treat_whitespace_as_suffix"));
  EXPECT_THAT(FaultOf([](auto* m) { m->mutable_denormalizer_spec()->set_precompiled_charsmap("x"); }),
              HasSubstr("denormalizer_spec"));
}

TEST(SentencePieceTest, RefusesADamagedMapOfCharacters) {
  for (const std::string& map :
       {std::string("abc"), std::string("\x08\0\0\0xxxx", 8), std::string("\xff\xff\xff\xffxx\0", 7),
        std::string("\x04\0\0\0xxxxrule", 12), std::string("\x03\0\0\0xxx\0", 8), std::string("\0\0\0\0\0", 5)}) {
    EXPECT_THAT(FaultOf([&](auto* m) { m->mutable_normalizer_spec()->set_precompiled_charsmap(map); }),
                HasSubstr("map of characters is damaged"));
  }
}

// Whatever a file holds, it is read or refused.
TEST(SentencePieceTest, ChangedBytesNeverCrash) {
  const std::string whole = Slurp("tests/goldens/tokenizers/unigram.model");
  ASSERT_GT(whole.size(), 1000u);
  std::mt19937 random(5);
  int opened = 0;
  for (int round = 0; round < 400; ++round) {
    std::string changed = whole;
    if (round % 8 == 0) changed.resize(random() % whole.size());
    for (int i = 0; i < 1 + round % 3 && !changed.empty(); ++i) {
      changed[random() % changed.size()] = static_cast<char>(random());
    }
    const auto parsed = SentencePieceTokenizer::Parse(changed, "m");
    if (!parsed.ok()) continue;
    ++opened;
    const auto ids = (*parsed)->Encode("\uFB01ne c\u0327a \u3000 LORD <keep> \xff The end");
    ASSERT_TRUE(ids.ok());
    (*parsed)->Decode(std::vector<int64_t>(ids->begin(), ids->end()));
  }
  EXPECT_GT(opened, 50);
}

}  // namespace
}  // namespace penstock

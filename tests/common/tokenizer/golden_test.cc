// Our tokenizers against the libraries whose ids they must have, on texts that are hard to cut. The goldens are written
// by tests/goldens/make_tokenizer_goldens.py.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/tokenizer/text_stream.h"
#include "common/tokenizer/tokenizer.h"
#include "tests/common/scratch_dir.h"

namespace penstock {
namespace {

constexpr char kFolder[] = "tests/goldens/tokenizers/";

struct Golden {
  const char* cases;
  v1::Tokenizer::Kind kind;
  const char* path;
  int64_t size;
};

class TokenizerGoldenTest : public ::testing::TestWithParam<Golden> {
 protected:
  void SetUp() override {
    v1::Tokenizer tokenizer;
    tokenizer.set_kind(GetParam().kind);
    tokenizer.set_path(std::string(kFolder) + GetParam().path);
    auto opened = Tokenizer::Open(tokenizer);
    ASSERT_TRUE(opened.ok()) << opened.status();
    tokenizer_ = *std::move(opened);
    cases_ = nlohmann::json::parse(Slurp(std::string(kFolder) + GetParam().cases));
    ASSERT_GT(cases_.size(), 150u);
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  nlohmann::json cases_;
};

TEST_P(TokenizerGoldenTest, GivesTheReferencesIds) {
  EXPECT_EQ(tokenizer_->size(), GetParam().size);
  for (const auto& golden : cases_) {
    const std::string text = golden["text"];
    const auto ids = tokenizer_->Encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, golden["ids"].get<std::vector<int32_t>>()) << golden["text"].dump();
  }
}

TEST_P(TokenizerGoldenTest, GivesTheReferencesText) {
  for (const auto& golden : cases_) {
    EXPECT_EQ(tokenizer_->Decode(golden["ids"].get<std::vector<int64_t>>()), golden["decoded"].get<std::string>())
        << golden["text"].dump();
  }
}

TEST_P(TokenizerGoldenTest, PiecesOfAStreamJoinToTheWholeText) {
  for (const auto& golden : cases_) {
    const auto ids = golden["ids"].get<std::vector<int64_t>>();
    for (const size_t prompt : {size_t{0}, ids.size() / 2}) {
      TextStream stream(tokenizer_.get(), {ids.begin(), ids.begin() + static_cast<ptrdiff_t>(prompt)});
      std::string text;
      for (size_t i = prompt; i < ids.size(); ++i) text += stream.Push(ids[i]);
      text += stream.Finish();
      const std::string whole = golden["decoded"];
      ASSERT_LE(text.size(), whole.size());
      EXPECT_EQ(whole.substr(whole.size() - text.size()), text) << golden["text"].dump();
      if (prompt == 0) {
        EXPECT_EQ(text, whole);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerGoldenTest,
                         ::testing::Values(Golden{"bpe.json", v1::Tokenizer::BPE, "", 600},
                                           Golden{"unigram.json", v1::Tokenizer::SENTENCEPIECE, "unigram.model", 400},
                                           Golden{"sentencepiece_bpe.json", v1::Tokenizer::SENTENCEPIECE, "bpe.model",
                                                  600}),
                         [](const auto& info) {
                           const std::string cases = info.param.cases;
                           return cases.substr(0, cases.find('.')) == "sentencepiece_bpe" ? "SentencepieceBpe"
                                  : cases == "bpe.json"                                   ? "Bpe"
                                                                                          : "Unigram";
                         });

}  // namespace
}  // namespace penstock

#include "common/tokenizer/bpe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "tests/common/scratch_dir.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// GPT-2's alphabet, written down once more: the text of a byte in vocab.json.
std::string Written(int byte) {
  const bool visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  int number = byte;
  if (!visible) number = byte <= 32 ? 256 + byte : byte <= 160 ? 256 + 33 + (byte - 127) : 256 + 33 + 34;
  if (number < 128) return std::string(1, static_cast<char>(number));
  return {static_cast<char>(0xC0 | number >> 6), static_cast<char>(0x80 | (number & 63))};
}

// The 256 bytes, and what the merges make, in their order.
nlohmann::json Vocab(const std::vector<std::string>& merged) {
  nlohmann::json vocab;
  for (int byte = 0; byte < 256; ++byte) vocab[Written(byte)] = byte;
  for (const std::string& token : merged) vocab[token] = vocab.size();
  return vocab;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Parse(const nlohmann::json& vocab, const std::string& merges) {
  return BpeTokenizer::Parse(vocab.dump(), merges, "v.json", "m.txt");
}

std::string FaultOf(const absl::StatusOr<std::unique_ptr<Tokenizer>>& parsed) {
  EXPECT_TRUE(absl::IsInvalidArgument(parsed.status())) << parsed.status();
  return std::string(parsed.status().message());
}

TEST(BpeTest, JoinsThePairOfTheLowestRankFirst) {
  const auto tokenizer = Parse(Vocab({"bc", "ab", "abc"}), "#version: 0.2\nb c\na b\nab c\n");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(*(*tokenizer)->Encode("abc"), ElementsAre('a', 256)) << "b c comes before a b";
  EXPECT_THAT(*(*tokenizer)->Encode("abab"), ElementsAre(257, 257));
  EXPECT_EQ((*tokenizer)->Decode({256, 258, 'x', 259, -1}), "bcabcx\uFFFD\uFFFD");
}

TEST(BpeTest, RepeatsAreJoinedFromTheLeft) {
  const auto tokenizer = Parse(Vocab({"aa"}), "a a\n");
  EXPECT_THAT(*(*tokenizer)->Encode("aaaaa"), ElementsAre(256, 256, 'a'));
}

TEST(BpeTest, BytesThatAreNotUtf8ReadBackToThemselves) {
  const auto tokenizer = Parse(Vocab({"ab"}), "a b\n");
  for (const std::string text : {"ab\xff\xfe ab", "\xc3", "a\xed\xa0\x80z", "\xf4\x90\x80\x80", "\x80\x80"}) {
    const auto ids = (*tokenizer)->Encode(text);
    ASSERT_TRUE(ids.ok());
    EXPECT_EQ((*tokenizer)->Decode(std::vector<int64_t>(ids->begin(), ids->end())), text);
  }
}

TEST(BpeTest, AWordOfAnyLengthTakesReasonableTime) {
  const auto tokenizer = Parse(Vocab({"aa", "aaaa"}), "a a\naa aa\n");
  for (const std::string& word : {std::string(1 << 20, 'a'), std::string(1 << 20, ' '), std::string(1 << 20, '\x80')}) {
    const auto ids = (*tokenizer)->Encode(word);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ((*tokenizer)->Decode(std::vector<int64_t>(ids->begin(), ids->end())), word);
  }
}

// Joins every occurrence of the pair with the lowest rank, from the left, until there is none.
std::vector<std::string> NaiveWord(std::vector<std::string> symbols,
                                   const std::vector<std::pair<std::string, std::string>>& merges) {
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    std::vector<std::string> joined;
    bool any = false;
    for (size_t i = 0; i < symbols.size(); ++i) {
      if (i + 1 < symbols.size() && symbols[i] == merges[rank].first && symbols[i + 1] == merges[rank].second) {
        joined.push_back(symbols[i] + symbols[i + 1]);
        any = true;
        ++i;
      } else {
        joined.push_back(symbols[i]);
      }
    }
    symbols = joined;
    if (any) rank = static_cast<size_t>(-1);  // a pair of a lower rank may be there now
  }
  return symbols;
}

TEST(BpeTest, JoinsAsANaiveLoopDoes) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    // Merges as training makes them: each joins what was there before.
    std::vector<std::string> made = {"a", "b", "c"}, texts;
    std::vector<std::pair<std::string, std::string>> merges;
    std::string lines;
    for (int i = 0; i < 12; ++i) {
      const std::string left = made[random() % made.size()], right = made[random() % made.size()];
      if (std::count(made.begin(), made.end(), left + right) > 0) continue;
      made.push_back(left + right);
      texts.push_back(left + right);
      merges.emplace_back(left, right);
      lines += left + " " + right + "\n";
    }
    const auto tokenizer = Parse(Vocab(texts), lines);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    std::vector<std::string> word;
    for (size_t i = random() % 24; i > 0; --i) word.push_back(std::string(1, static_cast<char>('a' + random() % 3)));
    std::string text;
    for (const std::string& letter : word) text += letter;
    const auto ids = *(*tokenizer)->Encode(text);
    std::vector<std::string> got;
    for (const int32_t id : ids) got.push_back((*tokenizer)->Decode({id}));
    EXPECT_EQ(got, NaiveWord(word, merges)) << text << "\n" << lines;
  }
}

TEST(BpeTest, RefusesAVocabularyThatIsNone) {
  EXPECT_THAT(FaultOf(BpeTokenizer::Parse("{", "", "v.json", "m.txt")), HasSubstr("v.json: "));
  EXPECT_THAT(FaultOf(BpeTokenizer::Parse("[1]", "", "v.json", "m.txt")), HasSubstr("is not a list of tokens"));
  EXPECT_THAT(FaultOf(BpeTokenizer::Parse(R"({"a": 0, "a": 1})", "", "v.json", "m.txt")), HasSubstr("v.json: "));
  EXPECT_EQ(FaultOf(BpeTokenizer::Parse(R"({"a": 7})", "", "v.json", "m.txt")),
            "v.json: token 'a' has the number 7; the 1 tokens have the numbers 0 to 0");
  EXPECT_THAT(FaultOf(BpeTokenizer::Parse(R"({"a": -1})", "", "v.json", "m.txt")), HasSubstr("has the number -1"));
  EXPECT_THAT(FaultOf(BpeTokenizer::Parse(R"({"a": "b"})", "", "v.json", "m.txt")), HasSubstr("has the number \"b\""));
  EXPECT_EQ(FaultOf(BpeTokenizer::Parse(R"({"a": 0, "b": 0})", "", "v.json", "m.txt")),
            "v.json: two tokens have the number 0");
  nlohmann::json vocab = Vocab({"ab"});
  vocab["a b"] = 257;
  EXPECT_THAT(FaultOf(Parse(vocab, "")), HasSubstr("token 'a b' (257) is not written in GPT-2's alphabet of bytes"));
  vocab = Vocab({"zz"});
  vocab.erase("z");
  vocab["yy"] = 122;
  EXPECT_EQ(FaultOf(Parse(vocab, "")), "v.json: has no token for byte 122");
}

TEST(BpeTest, RefusesMergesThatAreNone) {
  EXPECT_EQ(FaultOf(Parse(Vocab({"ab"}), "#version: 0.2\na b\nab\n")),
            "m.txt:3: 'ab' is not two tokens with a space between");
  EXPECT_EQ(FaultOf(Parse(Vocab({"ab"}), "a  b\n")), "m.txt:1: 'a  b' is not two tokens with a space between");
  EXPECT_EQ(FaultOf(Parse(Vocab({}), "a b\n")),
            "m.txt:1: what 'a b' makes is not in the vocabulary: the files do not belong together");
  EXPECT_EQ(FaultOf(Parse(Vocab({}), "ab c\n")),
            "m.txt:1: a part of 'ab c' is not in the vocabulary: the files do not belong together");
  EXPECT_EQ(FaultOf(Parse(Vocab({"ab"}), "a b\na b\n")), "m.txt:2: 'a b' stands there twice");
}

TEST(BpeTest, SaysWhichFileIsMissing) {
  const ScratchDir dir;
  EXPECT_TRUE(absl::IsNotFound(BpeTokenizer::Open(dir.path()).status()));
  Spill(dir / "vocab.json", Vocab({}).dump());
  const absl::Status status = BpeTokenizer::Open(dir.path()).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(status.message(), HasSubstr("merges.txt"));
  Spill(dir / "merges.txt", "");
  EXPECT_TRUE(BpeTokenizer::Open(dir.path()).ok());
}

}  // namespace
}  // namespace penstock

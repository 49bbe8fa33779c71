#include "common/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/tokenizer/text_stream.h"
#include "common/tokenizer/utf8.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::unique_ptr<Tokenizer> OfFormat(v1::Dataset::Format format) {
  v1::Data data;
  data.mutable_train()->set_format(format);
  return *Tokenizer::OfJob(data);
}

TEST(TokenizerTest, WithoutATokenizerTextIsItsBytes) {
  const auto bytes = OfFormat(v1::Dataset::FORMAT_TEXT);
  EXPECT_EQ(bytes->size(), 256);
  EXPECT_THAT(*bytes->Encode("a\xff"), ElementsAre('a', 255));
  EXPECT_EQ(bytes->Decode({'a', 255, 256, -1}), "a\xff\uFFFD\uFFFD");
}

TEST(TokenizerTest, WithoutATokenizerTokensAreNumbers) {
  const auto numbers = OfFormat(v1::Dataset::FORMAT_MEGATRON);
  EXPECT_THAT(*numbers->Encode(" 1, 22 3\n"), ElementsAre(1, 22, 3));
  EXPECT_EQ(numbers->Decode({1, 22, 3}), "1 22 3");
  for (const char* text : {"1 two", "-1", "99999999999"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(numbers->Encode(text).status())) << text;
  }
  EXPECT_THAT(numbers->Encode("1 two").status().message(), HasSubstr("'two' is not a token"));
}

TEST(TokenizerTest, APromptHasTokens) {
  const auto bytes = OfFormat(v1::Dataset::FORMAT_TEXT);
  EXPECT_THAT(*EncodePrompt(*bytes, "ab"), ElementsAre('a', 'b'));
  EXPECT_TRUE(absl::IsInvalidArgument(EncodePrompt(*bytes, "").status()));
}

TEST(TextStreamTest, HoldsACharacterBackUntilItIsWhole) {
  const auto bytes = OfFormat(v1::Dataset::FORMAT_TEXT);
  TextStream stream(bytes.get(), {'x'});
  EXPECT_EQ(stream.Push('a'), "a");
  EXPECT_EQ(stream.Push(0xC3), "");
  EXPECT_EQ(stream.Push(0xA9), "\u00e9");
  EXPECT_EQ(stream.Push(0xF0), "");
  EXPECT_EQ(stream.Push('b'),
            "\xF0"
            "b")
      << "it never became whole";
  EXPECT_EQ(stream.Push(0xE2), "");
  EXPECT_EQ(stream.Finish(), "\xE2");
  EXPECT_EQ(stream.Finish(), "");
}

TEST(TextStreamTest, NumbersKeepTheirSpaces) {
  const auto numbers = OfFormat(v1::Dataset::FORMAT_TOKENS);
  TextStream stream(numbers.get(), {7});
  EXPECT_EQ(stream.Push(1), " 1");
  EXPECT_EQ(stream.Push(12), " 12");
}

TEST(Utf8Test, KnowsCharactersFromWhatIsNone) {
  EXPECT_EQ(Utf8CharBytes("a"), 1u);
  EXPECT_EQ(Utf8CharBytes("\u00e9x"), 2u);
  EXPECT_EQ(Utf8CharBytes("\u20ac"), 3u);
  EXPECT_EQ(Utf8CharBytes("\U0010FFFF"), 4u);
  for (const char* none : {"", "\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80",
                           "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE2\x82", "\xE2\x28\xA1", "\xFF"}) {
    EXPECT_EQ(Utf8CharBytes(none), 0u) << none;
  }
  EXPECT_EQ(Utf8CodePoint("a"), 0x61u);
  EXPECT_EQ(Utf8CodePoint("\u07FF"), 0x7FFu);
  EXPECT_EQ(Utf8CodePoint("\u0800"), 0x800u);
  EXPECT_EQ(Utf8CodePoint("\uFFFFx"), 0xFFFFu);
  EXPECT_EQ(Utf8CodePoint("\U0010FFFF"), 0x10FFFFu);
}

TEST(Utf8Test, CountsTheBytesOfAnUnfinishedCharacter) {
  EXPECT_EQ(IncompleteUtf8Bytes(""), 0u);
  EXPECT_EQ(IncompleteUtf8Bytes("a\u20ac"), 0u);
  EXPECT_EQ(IncompleteUtf8Bytes("a\xE2"), 1u);
  EXPECT_EQ(IncompleteUtf8Bytes("a\xE2\x82"), 2u);
  EXPECT_EQ(IncompleteUtf8Bytes("\xF0\x9F\x98"), 3u);
  EXPECT_EQ(IncompleteUtf8Bytes("\xFF"), 0u) << "nothing can follow it";
  EXPECT_EQ(IncompleteUtf8Bytes("\xE0\x80"), 0u) << "overlong";
  EXPECT_EQ(IncompleteUtf8Bytes("\x80\x80\x80\x80"), 0u);
}

}  // namespace
}  // namespace penstock

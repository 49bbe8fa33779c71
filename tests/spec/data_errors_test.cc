// What is wrong with the data of a job, each with its place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "tests/common/data/data_files.h"
#include "tests/spec/spec_fixture.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class DataErrorsTest : public SpecTest {
 protected:
  // Job() with other training data.
  std::string Train(const std::string& keys) {
    return ErrorsOf(JobWith("{format: text, path: text.txt}", "{" + keys + "}"));
  }
  // A job over images of 1 x 2 pixels and two classes.
  std::string Images(const std::string& keys, const std::string& features = "[1, 1, 2]",
                     const std::string& loss = "cross_entropy") {
    return ErrorsOf("version: 1\nkind: job\nname: images\nmodel:\n  loss: " + loss + "\n  input: {features: " +
                    features + "}\n  layers: [flatten, {linear: {out: 2}}]\ndata:\n  train: {" + keys +
                    "}\ntrain: {steps: 1, batch_size: 2}\n");
  }
  // A tokenizer of the 256 bytes and as many joined pairs as wanted.
  void WriteTokenizer(int pairs) {
    std::string vocab, merges;
    for (int byte = 0, hidden = 256; byte < 256; ++byte) {
      const bool visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      char token[32];
      std::snprintf(token, sizeof(token), "\"\\u%04x\":%d", visible ? byte : hidden++, byte);
      vocab += (byte == 0 ? "{" : ",") + std::string(token);
    }
    for (int i = 0; i < pairs; ++i) {
      const std::string left(1, static_cast<char>('a' + i / 26)), right(1, static_cast<char>('a' + i % 26));
      vocab += ",\"" + left + right + "\":" + std::to_string(256 + i);
      merges += left + " " + right + "\n";
    }
    Write("vocab.json", vocab + "}");
    Write("merges.txt", merges);
  }
};

TEST_F(DataErrorsTest, KeysOfOtherFormatsAreRefused) {
  EXPECT_EQ(Train("format: tokens, path: tokens.bin, labels: l, mean: [1], std: [1], scale: 2"),
            "job.yaml:13:45: error: data.train.labels: only mnist data have a file of labels\n"
            "job.yaml:13:56: error: data.train.mean: only images (mnist, cifar10) have a mean\n"
            "job.yaml:13:67: error: data.train.std: only images (mnist, cifar10) have a standard deviation\n"
            "job.yaml:13:77: error: data.train.scale: tokens are not scaled\n");
  EXPECT_THAT(Images("format: mnist, path: text.txt"), HasSubstr("missing key 'labels' in 'data.train'"));
  EXPECT_THAT(Images("format: cifar10, path: text.txt}\n  tokenizer: {bpe: ."),
              HasSubstr("data.tokenizer: cifar10 data have no tokens"));
}

TEST_F(DataErrorsTest, ShardsMustMatchAndAgree) {
  EXPECT_THAT(Train("format: tokens, path: none_*.bin"), HasSubstr("data.train.path: none_*.bin: no file matches"));
  Write("s_0.bin", Tokens16({1, 2, 3, 4, 5, 6, 7, 8, 9}));
  Write("s_1.bin", Tokens16({1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(Train("format: tokens, path: s_*.bin"), "OK") << "17 tokens in all";
  EXPECT_THAT(Train("format: tokens, path: s_0.bin"), HasSubstr("9 tokens are too few"));
  Write("s_1.bin", TokenHeader(20240801, 7, 1) + Tokens32({1}));
  EXPECT_THAT(Train("format: tokens, path: s_*.bin"), HasSubstr("one dataset has tokens of one type"));
}

TEST_F(DataErrorsTest, AMegatronIndexMustDescribeItsTokens) {
  EXPECT_THAT(Train("format: megatron, path: d"), HasSubstr("data.train.path: d.idx: cannot open"));
  MegatronIndex index;
  index.lengths = {10, 0, 10};
  index.begins = {0, 20, 20};
  Write("d.idx", index.Text());
  Write("d.bin", std::string(40, '\0'));
  EXPECT_EQ(Train("format: megatron, path: d"), "OK");
  Write("d.bin", std::string(38, '\0'));
  EXPECT_THAT(Train("format: megatron, path: d"), HasSubstr("d.idx: sequence 2 has 10 tokens from byte 20 on"));
}

TEST_F(DataErrorsTest, ImagesMustFillTheInput) {
  Write("i", IdxImages(2, 1, 2, "abcd"));
  Write("l", IdxLabels(std::string("\0\1", 2)));
  const std::string keys = "format: mnist, path: i, labels: l";
  EXPECT_EQ(Images(keys), "OK");
  EXPECT_EQ(Images(keys + ", mean: [0.5], std: [0.25], scale: 0.1"), "OK");
  EXPECT_THAT(Images(keys, "[1, 2, 2]"), HasSubstr("its images are [1, 1, 2], but the model's input is [1, 2, 2]"));
  EXPECT_THAT(Images("format: mnist, path: i, labels: none"), HasSubstr("data.train.labels: no such file: none"));
  EXPECT_THAT(Images("format: mnist, path: l, labels: l"), HasSubstr("data.train.path: l: has 10 bytes; the header"));
  EXPECT_THAT(Images(keys + ", mean: [1, 2]"),
              HasSubstr("data.train.mean has 2 numbers, but the images have 1 channel"));
  EXPECT_THAT(Images(keys + ", std: [0]"), HasSubstr("data.train.std holds 0: it must be above 0"));
  EXPECT_THAT(Images(keys, "[1, 1, 2]", "mse"),
              HasSubstr("model.loss does not fit mnist data, which have classes: use cross_entropy"));
  EXPECT_THAT(Images("format: cifar10, path: ."), HasSubstr("data_batch_*.bin: no file matches"));
}

TEST_F(DataErrorsTest, ArraysMustFillTheInput) {
  Write("a", Safetensors({{"inputs", "F32", {2, 2}, Floats({1, 2, 3, 4})}, {"targets", "U8", {2}, "\1\1"}}));
  EXPECT_EQ(Images("format: safetensors, path: a, scale: 0.5", "[2]"), "OK");
  EXPECT_THAT(Images("format: safetensors, path: a", "[2, 1]"),
              HasSubstr("data.train.path: a: array 'inputs' is [2, 2]"));
  EXPECT_THAT(Images("format: safetensors, path: text.txt"), HasSubstr("text.txt: states a header of"));
}

TEST_F(DataErrorsTest, ATextThatSentencepieceCannotHoldIsRefusedBeforeAWorkerReadsIt) {
  // 256 MiB of text were segmented whole, in some 17 GB of memory that no limit knew of.
  const std::string job = JobWith("  seq_len: 16\n", "  seq_len: 16\n  tokenizer: {sentencepiece: nowhere}\n");
  std::filesystem::resize_file(folder_ + "/text.txt", (16 << 20) + 1);
  EXPECT_THAT(ErrorsOf(job), HasSubstr("data.train.path: text.txt: has 16777217 bytes of text; a sentencepiece "
                                       "tokenizer reads at most 16777216 when a job is loaded: encode it once into a "
                                       "file of the format tokens, or train on less of it"));
  std::filesystem::resize_file(folder_ + "/text.txt", 16 << 20);
  EXPECT_THAT(ErrorsOf(job), Not(HasSubstr("data.train.path")));
}

TEST_F(DataErrorsTest, ATokenizerMustFitTheVocabulary) {
  const auto with = [&](const std::string& tokenizer) {
    return ErrorsOf(JobWith("  seq_len: 16\n", "  seq_len: 16\n  tokenizer: " + tokenizer + "\n"));
  };
  EXPECT_EQ(with("{}"), "job.yaml:15:3: error: data.tokenizer: give either bpe: FOLDER or sentencepiece: FILE\n");
  EXPECT_THAT(with("{bpe: a, sentencepiece: b}"), HasSubstr("give either bpe: FOLDER or sentencepiece: FILE"));
  EXPECT_THAT(with("{bep: a}"), HasSubstr("unknown key 'bep' in 'data.tokenizer'; did you mean 'bpe'?"));
  EXPECT_THAT(with("{bpe: nowhere}"), HasSubstr("data.tokenizer: nowhere/vocab.json: cannot open"));
  EXPECT_THAT(with("{sentencepiece: text.txt}"),
              HasSubstr("data.tokenizer: text.txt: is not a sentencepiece model, or a damaged one"));
  WriteTokenizer(0);
  EXPECT_EQ(with("{bpe: .}"), "OK");
  WriteTokenizer(44);
  EXPECT_THAT(with("{bpe: .}"), HasSubstr("layer 'embedding_0' (embedding): a vocabulary of 256 is too small: the "
                                          "tokenizer"));
  EXPECT_THAT(with("{bpe: .}"), HasSubstr("layer 'head' (linear): a vocabulary of 256 is too small"));
  EXPECT_EQ(ErrorsOf(JobWith("  seq_len: 16\n", "  seq_len: 16\n  tokenizer: {bpe: .}\n"),
                     {"model.layers.0.embedding.vocab=320", "model.layers.3.linear.out=320"}),
            "OK")
      << "padding";
  EXPECT_THAT(ErrorsOf(JobWith("  seq_len: 16\n", "  seq_len: 16\n  tokenizer: {bpe: .}\n"),
                       {"model.layers.0.embedding.vocab=50257", "model.layers.3.linear.out=50257"}),
              HasSubstr("has 300 tokens, but the model's vocabulary 50257: it is another model's tokenizer"));
}

TEST_F(DataErrorsTest, ASampleOfTokensNeedsATokenizer) {
  const std::string eval = "eval: {sample: {prompt: ab, tokens: 2}}\n";
  const std::string job = JobWith("format: text, path: text.txt", "format: tokens, path: tokens.bin") + eval;
  EXPECT_THAT(ErrorsOf(job), HasSubstr("the data must have the format text, or data.tokenizer"));
  WriteTokenizer(0);
  EXPECT_EQ(ErrorsOf(job, {"data.tokenizer={bpe: .}"}), "OK");
}

}  // namespace
}  // namespace penstock

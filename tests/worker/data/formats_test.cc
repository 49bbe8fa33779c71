// Samples of the formats, against a naive reading of the same files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "tests/common/data/data_files.h"
#include "tests/common/scratch_dir.h"
#include "worker/data/dataset.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::JobSpec TokenSpec(v1::Dataset::Format format, const std::string& path, uint32_t seq_len, int64_t vocab) {
  v1::JobSpec spec;
  spec.mutable_data()->set_seq_len(seq_len);
  spec.mutable_data()->mutable_train()->set_format(format);
  spec.mutable_data()->mutable_train()->set_path(path);
  spec.mutable_model()->set_loss(v1::LOSS_CROSS_ENTROPY);
  spec.mutable_model()->add_layers()->mutable_embedding()->set_vocab(vocab);
  return spec;
}

v1::JobSpec FeatureSpec(v1::Dataset::Format format, const std::string& path, const std::vector<int64_t>& shape) {
  v1::JobSpec spec;
  spec.mutable_data()->mutable_train()->set_format(format);
  spec.mutable_data()->mutable_train()->set_path(path);
  spec.mutable_model()->set_loss(v1::LOSS_CROSS_ENTROPY);
  for (const int64_t size : shape) spec.mutable_model()->mutable_input()->add_shape(size);
  return spec;
}

// A sample's inputs or targets.
template <typename T>
std::vector<T> Of(const DataSource& source, const SampleRef& sample, bool targets) {
  const size_t bytes = targets ? source.layout().target_bytes : source.layout().input_bytes;
  std::vector<T> out(bytes / sizeof(T));
  char* raw = reinterpret_cast<char*>(out.data());
  const absl::Status status = source.Read({sample}, targets ? nullptr : raw, targets ? raw : nullptr);
  EXPECT_TRUE(status.ok()) << status;
  return out;
}

// Every sample of the source is tokens[i * seq_len ...], and its targets the same shifted by one.
void ExpectSequences(const DataSource& source, const std::vector<int64_t>& tokens, int64_t seq_len) {
  ASSERT_EQ(source.samples(), (static_cast<int64_t>(tokens.size()) - 1) / seq_len);
  for (int64_t i = 0; i < source.samples(); ++i) {
    const auto begin = tokens.begin() + i * seq_len;
    EXPECT_EQ(Of<int64_t>(source, {i}, false), std::vector<int64_t>(begin, begin + seq_len)) << i;
    EXPECT_EQ(Of<int64_t>(source, {i}, true), std::vector<int64_t>(begin + 1, begin + seq_len + 1)) << i;
  }
}

TEST(ShardsTest, SequencesGoOnFromShardToShard) {
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    const ScratchDir dir;
    std::vector<int64_t> all;
    for (size_t shard = 0; shard < 1 + random() % 5; ++shard) {
      std::vector<int64_t> tokens(1 + random() % 9);
      for (int64_t& token : tokens) token = random() % 500;
      all.insert(all.end(), tokens.begin(), tokens.end());
      const bool header = random() % 2 == 0;
      Spill(dir / ("t_" + std::to_string(shard)),
            (header ? TokenHeader(20240520, 1, static_cast<uint32_t>(tokens.size())) : "") + Tokens16(tokens));
    }
    const int64_t seq_len = 1 + random() % 6;
    const auto source = DataSource::Open(
        TokenSpec(v1::Dataset::FORMAT_TOKENS, dir / "t_*", static_cast<uint32_t>(seq_len), 500), DataPart::kTrain, 500);
    if (static_cast<int64_t>(all.size()) <= seq_len) {
      EXPECT_TRUE(absl::IsInvalidArgument(source.status()));
    } else {
      ASSERT_TRUE(source.ok()) << source.status();
      ExpectSequences(**source, all, seq_len);
    }
  }
}

TEST(ShardsTest, ATokenOutsideOfTheVocabularyIsNamedWithItsShard) {
  const ScratchDir dir;
  Spill(dir / "t_0", Tokens16({1, 2, 3}));
  Spill(dir / "t_1", Tokens16({4, 300}));
  const auto source =
      DataSource::Open(TokenSpec(v1::Dataset::FORMAT_TOKENS, dir / "t_*", 4, 256), DataPart::kTrain, 256);
  ASSERT_TRUE(source.ok()) << source.status();
  std::vector<int64_t> out(4);
  EXPECT_TRUE((*source)->Read({{0}}, reinterpret_cast<char*>(out.data()), nullptr).ok());
  EXPECT_EQ((*source)->Read({{0}}, nullptr, reinterpret_cast<char*>(out.data())).message(),
            dir / "t_1" + ": byte 2: token 4 of the whole is 300, but the model's vocabulary has 256 entries");
}

TEST(ShardsTest, TextsAreOneText) {
  const ScratchDir dir;
  Spill(dir / "b.txt", "cde");
  Spill(dir / "a.txt", "ab");
  const auto source =
      DataSource::Open(TokenSpec(v1::Dataset::FORMAT_TEXT, dir / "*.txt", 2, 256), DataPart::kTrain, 256);
  ASSERT_TRUE(source.ok()) << source.status();
  ExpectSequences(**source, {'a', 'b', 'c', 'd', 'e'}, 2);
}

TEST(MegatronTest, SequencesRunThroughDocuments) {
  const ScratchDir dir;
  MegatronIndex index;
  const std::vector<int64_t> tokens = {10, 11, 12, 20, 21, 22, 23};
  Spill(dir / "d.idx", index.Text());
  Spill(dir / "d.bin", Tokens16(tokens));
  const auto source = DataSource::Open(TokenSpec(v1::Dataset::FORMAT_MEGATRON, dir / "d", 2, 50), DataPart::kTrain, 50);
  ASSERT_TRUE(source.ok()) << source.status();
  ExpectSequences(**source, tokens, 2);
  index.type = 4;
  index.begins = {0, 12, 12};
  Spill(dir / "e.idx", index.Text());
  Spill(dir / "e.bin", Tokens32({1, 2, 3, -4, 70000, 6, 7}));
  const auto wide = DataSource::Open(TokenSpec(v1::Dataset::FORMAT_MEGATRON, dir / "e", 1, 70001), DataPart::kTrain, 0);
  ASSERT_TRUE(wide.ok()) << wide.status();
  EXPECT_THAT(Of<int64_t>(**wide, {4}, false), ElementsAre(70000));
  std::vector<int64_t> out(1);
  EXPECT_THAT((*wide)->Read({{3}}, reinterpret_cast<char*>(out.data()), nullptr).message(),
              HasSubstr("e.bin: token 3 is -4: tokens are not negative"));
}

TEST(TokenizedTextTest, ThePartCountsTokens) {
  const ScratchDir dir;
  // "ab" is a token of its own; the bytes of a vocabulary are written as in GPT-2's, here only those that need it not.
  std::string vocab = "{", name;
  int id = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const bool visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    static int hidden;
    if (byte == 0) hidden = 256;
    const int number = visible ? byte : hidden++;
    name = number < 128 ? std::string(1, static_cast<char>(number))
                        : std::string{static_cast<char>(0xC0 | number >> 6), static_cast<char>(0x80 | (number & 63))};
    if (name == "\"" || name == "\\") name = "\\" + name;
    vocab += "\"" + name + "\":" + std::to_string(id++) + ",";
  }
  Spill(dir / "vocab.json", vocab + "\"ab\":256}");
  Spill(dir / "merges.txt", "a b\n");
  Spill(dir / "t.txt", "abcabab abx");
  v1::JobSpec spec = TokenSpec(v1::Dataset::FORMAT_TEXT, dir / "t.txt", 2, 257);
  spec.mutable_data()->mutable_tokenizer()->set_kind(v1::Tokenizer::BPE);
  spec.mutable_data()->mutable_tokenizer()->set_path(dir.path());
  const auto source = DataSource::Open(spec, DataPart::kTrain, 257);
  ASSERT_TRUE(source.ok()) << source.status();
  ExpectSequences(**source, {256, 'c', 256, 256, ' ', 256, 'x'}, 2);
  spec.mutable_data()->mutable_train()->set_part_begin(0.5);
  ExpectSequences(**DataSource::Open(spec, DataPart::kTrain, 257), {256, ' ', 256, 'x'}, 2);
  spec.mutable_model()->mutable_layers(0)->mutable_embedding()->set_vocab(256);
  std::vector<int64_t> out(2);
  EXPECT_THAT((*DataSource::Open(spec, DataPart::kTrain, 257))
                  ->Read({{0}}, reinterpret_cast<char*>(out.data()), nullptr)
                  .message(),
              HasSubstr("t.txt: token 3 of the encoded text is 256, but the model's vocabulary has 256 entries"));
}

TEST(ImagesTest, PixelsAreScaledAndNormalizedByChannel) {
  const ScratchDir dir;
  Spill(dir / "data_batch_1.bin", CifarRecord(3, 1) + CifarRecord(8, 2));
  v1::JobSpec spec = FeatureSpec(v1::Dataset::FORMAT_CIFAR10, dir.path(), {3, 32, 32});
  v1::Dataset* train = spec.mutable_data()->mutable_train();
  const double mean[] = {0.4914, 0.4822, 0.4465}, std[] = {0.247, 0.243, 0.261};
  for (int c = 0; c < 3; ++c) {
    train->add_channel_mean(mean[c]);
    train->add_channel_std(std[c]);
  }
  const auto source = DataSource::Open(spec, DataPart::kTrain, 10);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->samples(), 2);
  EXPECT_THAT((*source)->layout().input_shape, ElementsAre(3, 32, 32));
  const std::vector<float> got = Of<float>(**source, {1}, false);
  const std::string record = CifarRecord(8, 2);
  for (int i = 0; i < 3072; ++i) {
    const double pixel = static_cast<unsigned char>(record[1 + i]);
    ASSERT_EQ(got[i], static_cast<float>((pixel * (1.0 / 255) - mean[i / 1024]) / std[i / 1024])) << i;
  }
  EXPECT_THAT(Of<int64_t>(**source, {0}, true), ElementsAre(3));
  EXPECT_THAT(Of<int64_t>(**source, {1, false}, true), ElementsAre(-100));
}

TEST(ImagesTest, MnistHasPartsAndFlatInputs) {
  const ScratchDir dir;
  Spill(dir / "i", IdxImages(4, 1, 2, std::string("\0\xff\1\2\3\4\5\6", 8)));
  Spill(dir / "l", IdxLabels(std::string("\0\1\2\3", 4)));
  v1::JobSpec spec = FeatureSpec(v1::Dataset::FORMAT_MNIST, dir / "i", {2});
  v1::Dataset* train = spec.mutable_data()->mutable_train();
  train->set_labels(dir / "l");
  train->set_scale(2);
  EXPECT_THAT(Of<float>(**DataSource::Open(spec, DataPart::kTrain, 4), {0}, false), ElementsAre(0, 510));
  train->set_part_begin(0.5);
  const auto source = DataSource::Open(spec, DataPart::kTrain, 4);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->samples(), 2);
  EXPECT_THAT(Of<float>(**source, {1}, false), ElementsAre(10, 12));
  EXPECT_THAT(Of<int64_t>(**source, {0}, true), ElementsAre(2));
}

TEST(ImagesTest, RefusesWhatDoesNotFitTheModel) {
  const ScratchDir dir;
  Spill(dir / "i", IdxImages(2, 1, 2, "abcd"));
  Spill(dir / "l", IdxLabels(std::string("\0\5", 2)));
  v1::JobSpec spec = FeatureSpec(v1::Dataset::FORMAT_MNIST, dir / "i", {2});
  spec.mutable_data()->mutable_train()->set_labels(dir / "l");
  const auto fault = [&](int64_t classes) {
    const absl::Status status = DataSource::Open(spec, DataPart::kTrain, classes).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(fault(5), HasSubstr("byte 9: the label of image 1 is 5, but the model has 5 classes"));
  spec.mutable_data()->mutable_train()->add_channel_mean(1);
  spec.mutable_data()->mutable_train()->add_channel_mean(1);
  EXPECT_THAT(fault(6), HasSubstr("have 1 channels, but mean or std has 2 numbers"));
  spec.mutable_data()->mutable_train()->clear_channel_mean();
  spec.mutable_data()->mutable_train()->add_channel_std(0);
  EXPECT_THAT(fault(6), HasSubstr("a pixel of 0 becomes"));
  spec.mutable_data()->mutable_train()->clear_channel_std();
  spec.mutable_model()->set_loss(v1::LOSS_MSE);
  EXPECT_THAT(fault(6), HasSubstr("cross_entropy"));
  spec.mutable_model()->mutable_input()->add_shape(3);
  EXPECT_THAT(fault(6), HasSubstr("its images are [1, 1, 2], but the model's input is [2, 3]"));
}

TEST(ArraysTest, ReadsClassesAndNumbers) {
  const ScratchDir dir;
  const Array inputs{"inputs", "F32", {3, 2}, Floats({1, 2, 3, 4, 5, 6})};
  Spill(dir / "c", Safetensors({inputs, {"targets", "U8", {3}, std::string("\0\1\2", 3)}}));
  v1::JobSpec spec = FeatureSpec(v1::Dataset::FORMAT_SAFETENSORS, dir / "c", {2});
  spec.mutable_data()->mutable_train()->set_scale(10);
  const auto classes = DataSource::Open(spec, DataPart::kTrain, 3);
  ASSERT_TRUE(classes.ok()) << classes.status();
  EXPECT_EQ((*classes)->samples(), 3);
  EXPECT_THAT(Of<float>(**classes, {2}, false), ElementsAre(50, 60));
  EXPECT_THAT(Of<int64_t>(**classes, {1}, true), ElementsAre(1));
  EXPECT_THAT(Of<int64_t>(**classes, {1, false}, true), ElementsAre(-100));
  EXPECT_THAT(DataSource::Open(spec, DataPart::kTrain, 2).status().message(), HasSubstr("targets[2] is 2"));

  Spill(dir / "n", Safetensors({inputs, {"targets", "F32", {3, 1}, Floats({0.5f, -1, 2})}}));
  spec.mutable_data()->mutable_train()->set_path(dir / "n");
  spec.mutable_data()->mutable_train()->set_part_begin(0.4);
  spec.mutable_model()->set_loss(v1::LOSS_MSE);
  const auto numbers = DataSource::Open(spec, DataPart::kTrain, 0);
  ASSERT_TRUE(numbers.ok()) << numbers.status();
  EXPECT_EQ((*numbers)->samples(), 2);
  EXPECT_THAT((*numbers)->layout().target_shape, ElementsAre(1));
  EXPECT_THAT(Of<float>(**numbers, {0}, true), ElementsAre(-1));
  EXPECT_TRUE(std::isnan(Of<float>(**numbers, {0, false}, true)[0]));
}

TEST(ArraysTest, AFileThatShrinksIsAnErrorNotACrash) {
  const ScratchDir dir;
  const Array inputs{"inputs", "F32", {2, 2}, Floats({1, 2, 3, 4})};
  Spill(dir / "c", Safetensors({inputs, {"targets", "U8", {2}, std::string("\0\1", 2)}}));
  const auto source =
      DataSource::Open(FeatureSpec(v1::Dataset::FORMAT_SAFETENSORS, dir / "c", {2}), DataPart::kTrain, 2);
  ASSERT_EQ(::truncate((dir / "c").c_str(), 20), 0);
  float out[2];
  EXPECT_TRUE(absl::IsDataLoss((*source)->Read({{1}}, reinterpret_cast<char*>(out), nullptr)));
}

}  // namespace
}  // namespace penstock

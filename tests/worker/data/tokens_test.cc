#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "tests/common/scratch_dir.h"
#include "worker/data/dataset.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::JobSpec Spec(v1::Dataset::Format format, const std::string& path, uint32_t seq_len) {
  v1::JobSpec spec;
  spec.set_name("kjv");
  spec.mutable_data()->set_seq_len(seq_len);
  v1::Dataset* train = spec.mutable_data()->mutable_train();
  train->set_format(format);
  train->set_path(path);
  train->set_part_end(1);
  spec.mutable_model()->set_loss(v1::LOSS_CROSS_ENTROPY);
  spec.mutable_model()->add_layers()->mutable_embedding()->set_vocab(256);
  return spec;
}

std::string Uint16(const std::vector<uint16_t>& tokens) {
  std::string bytes;
  for (const uint16_t token : tokens) bytes.append({static_cast<char>(token & 0xff), static_cast<char>(token >> 8)});
  return bytes;
}

struct Read {
  std::vector<int64_t> inputs, targets;
  absl::Status status;
};

Read ReadSamples(const DataSource& source, const std::vector<SampleRef>& samples) {
  Read read;
  read.inputs.resize(samples.size() * source.layout().input_bytes / sizeof(int64_t));
  read.targets.resize(samples.size() * source.layout().target_bytes / sizeof(int64_t));
  read.status =
      source.Read(samples, reinterpret_cast<char*>(read.inputs.data()), reinterpret_cast<char*>(read.targets.data()));
  return read;
}

TEST(TextTest, BytesAreTokensAndTargetsAreTheNextOnes) {
  const ScratchDir dir;
  Spill(dir / "t", "abcdefgh\xff");
  const auto source = DataSource::Open(Spec(v1::Dataset::FORMAT_TEXT, dir / "t", 4), DataPart::kTrain, 256);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->samples(), 2);
  EXPECT_THAT((*source)->layout().input_shape, ElementsAre(4));
  EXPECT_EQ((*source)->layout().input_dtype, v1::DTYPE_INT64);
  const Read read = ReadSamples(**source, {{1}, {0}});
  ASSERT_TRUE(read.status.ok()) << read.status;
  EXPECT_THAT(read.inputs, ElementsAre('e', 'f', 'g', 'h', 'a', 'b', 'c', 'd'));
  EXPECT_THAT(read.targets, ElementsAre('f', 'g', 'h', 255, 'b', 'c', 'd', 'e'));
}

TEST(TextTest, UncountedSamplesHaveTargetsThatDoNotCount) {
  const ScratchDir dir;
  Spill(dir / "t", "abcdefghi");
  const auto source = DataSource::Open(Spec(v1::Dataset::FORMAT_TEXT, dir / "t", 2), DataPart::kTrain, 256);
  const Read read = ReadSamples(**source, {{3}, {0, false}});
  EXPECT_THAT(read.inputs, ElementsAre('g', 'h', 'a', 'b'));
  EXPECT_THAT(read.targets, ElementsAre('h', 'i', -100, -100));
}

TEST(TextTest, InputsAndTargetsCanBeReadAlone) {
  const ScratchDir dir;
  Spill(dir / "t", "abcde");
  const auto source = DataSource::Open(Spec(v1::Dataset::FORMAT_TEXT, dir / "t", 2), DataPart::kTrain, 256);
  std::vector<int64_t> out(2);
  const std::vector<SampleRef> sample = {{1}};
  ASSERT_TRUE((*source)->Read(sample, reinterpret_cast<char*>(out.data()), nullptr).ok());
  EXPECT_THAT(out, ElementsAre('c', 'd'));
  ASSERT_TRUE((*source)->Read(sample, nullptr, reinterpret_cast<char*>(out.data())).ok());
  EXPECT_THAT(out, ElementsAre('d', 'e'));
}

TEST(TextTest, PartsShareAFileWithoutOverlap) {
  const ScratchDir dir;
  Spill(dir / "t", "0123456789");
  v1::JobSpec spec = Spec(v1::Dataset::FORMAT_TEXT, dir / "t", 1);
  spec.mutable_data()->mutable_train()->set_part_end(0.75);
  *spec.mutable_data()->mutable_eval() = spec.data().train();
  spec.mutable_data()->mutable_eval()->set_part_begin(0.75);
  spec.mutable_data()->mutable_eval()->set_part_end(1);
  const auto train = DataSource::Open(spec, DataPart::kTrain, 256);
  const auto eval = DataSource::Open(spec, DataPart::kEval, 256);
  EXPECT_EQ((*train)->samples(), 6);
  EXPECT_EQ((*eval)->samples(), 2);
  EXPECT_THAT(ReadSamples(**train, {{5}}).targets, ElementsAre('6'));
  EXPECT_THAT(ReadSamples(**eval, {{0}}).inputs, ElementsAre('7'));
}

TEST(TokensTest, ReadsLittleEndianUint16) {
  const ScratchDir dir;
  Spill(dir / "t.bin", Uint16({1, 258, 65535, 7}));
  v1::JobSpec spec = Spec(v1::Dataset::FORMAT_TOKENS, dir / "t.bin", 3);
  spec.mutable_model()->mutable_layers(0)->mutable_embedding()->set_vocab(65536);
  const auto source = DataSource::Open(spec, DataPart::kTrain, 65536);
  ASSERT_TRUE(source.ok()) << source.status();
  const Read read = ReadSamples(**source, {{0}});
  EXPECT_THAT(read.inputs, ElementsAre(1, 258, 65535));
  EXPECT_THAT(read.targets, ElementsAre(258, 65535, 7));
}

TEST(TokensTest, ATokenOutsideOfTheVocabularyIsNamedWithItsPosition) {
  const ScratchDir dir;
  Spill(dir / "t.bin", Uint16({1, 2, 3, 4, 300, 5, 6}));
  const auto source = DataSource::Open(Spec(v1::Dataset::FORMAT_TOKENS, dir / "t.bin", 2), DataPart::kTrain, 256);
  EXPECT_TRUE(ReadSamples(**source, {{0}}).status.ok());
  for (const int64_t sample : {1, 2}) {  // as a target, and as an input
    const absl::Status status = ReadSamples(**source, {{sample}}).status;
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << sample;
    EXPECT_THAT(status.message(), HasSubstr("t.bin: token 4 is 300, but the model's vocabulary has 256 entries"));
  }
}

TEST(TokensTest, RefusesFilesThatCannotBeData) {
  const ScratchDir dir;
  const auto fault = [&](v1::Dataset::Format format, const std::string& contents, uint32_t seq_len) {
    Spill(dir / "t", contents);
    const absl::Status status = DataSource::Open(Spec(format, dir / "t", seq_len), DataPart::kTrain, 256).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(fault(v1::Dataset::FORMAT_TEXT, "", 4), HasSubstr("t: is empty"));
  EXPECT_THAT(fault(v1::Dataset::FORMAT_TEXT, "abcd", 4),
              HasSubstr("has 4 tokens; one sequence and its targets need 5"));
  EXPECT_THAT(fault(v1::Dataset::FORMAT_TOKENS, "abc", 1), HasSubstr("half of one is missing"));
  EXPECT_THAT(fault(v1::Dataset::FORMAT_TEXT, "abcd", 0), HasSubstr("seq_len"));
  EXPECT_THAT(fault(v1::Dataset::FORMAT_UNSPECIFIED, "abcd", 1), HasSubstr("format"));
}

TEST(TokensTest, RefusesPartsThatAreNone) {
  const ScratchDir dir;
  Spill(dir / "t", "abcdefgh");
  v1::JobSpec spec = Spec(v1::Dataset::FORMAT_TEXT, dir / "t", 1);
  for (const auto& [begin, end] :
       std::vector<std::pair<double, double>>{{0.5, 0.5}, {-0.1, 1}, {0, 1.1}, {0.9, 0.95}}) {
    spec.mutable_data()->mutable_train()->set_part_begin(begin);
    spec.mutable_data()->mutable_train()->set_part_end(end);
    EXPECT_TRUE(absl::IsInvalidArgument(DataSource::Open(spec, DataPart::kTrain, 256).status())) << begin << " " << end;
  }
}

TEST(TokensTest, SaysWhatIsMissing) {
  const ScratchDir dir;
  const v1::JobSpec spec = Spec(v1::Dataset::FORMAT_TEXT, dir / "missing", 4);
  const auto train = DataSource::Open(spec, DataPart::kTrain, 256);
  EXPECT_TRUE(absl::IsNotFound(train.status()));
  EXPECT_THAT(train.status().message(), HasSubstr(dir / "missing"));
  const auto eval = DataSource::Open(spec, DataPart::kEval, 256);
  EXPECT_TRUE(absl::IsNotFound(eval.status()));
  EXPECT_THAT(eval.status().message(), HasSubstr("data.eval"));
}

TEST(TokensTest, AFileThatShrinksUnderTheJobIsAnErrorNotACrash) {
  const ScratchDir dir;
  Spill(dir / "t", std::string(100, 'x'));
  const auto source = DataSource::Open(Spec(v1::Dataset::FORMAT_TEXT, dir / "t", 4), DataPart::kTrain, 256);
  ASSERT_EQ(::truncate((dir / "t").c_str(), 10), 0);
  EXPECT_TRUE(ReadSamples(**source, {{0}}).status.ok());
  EXPECT_TRUE(absl::IsDataLoss(ReadSamples(**source, {{5}}).status));
}

}  // namespace
}  // namespace penstock

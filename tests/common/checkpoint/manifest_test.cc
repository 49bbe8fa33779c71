#include "common/checkpoint/manifest.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "common/sha256.h"
#include "tests/common/checkpoint/sample_checkpoint.h"

namespace penstock {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::HasSubstr;

v1::TensorHash Tensor(const std::string& name, const std::string& dtype, std::vector<int64_t> shape) {
  v1::TensorHash tensor;
  tensor.set_name(name);
  tensor.set_dtype(dtype);
  for (const int64_t size : shape) tensor.add_shape(size);
  tensor.set_sha256(Sha256Hex(name));
  return tensor;
}

TEST(HashOfTensorsTest, IsTheHashOfTheSortedLines) {
  const std::string lines = "a F32 [] " + Sha256Hex("a") + "\nb I64 [2,3] " + Sha256Hex("b") + "\n";
  EXPECT_EQ(HashOfTensors({Tensor("b", "I64", {2, 3}), Tensor("a", "F32", {})}), Sha256Hex(lines));
  EXPECT_EQ(HashOfTensors({Tensor("a", "F32", {}), Tensor("b", "I64", {2, 3})}), Sha256Hex(lines));
  EXPECT_EQ(HashOfTensors({}), Sha256Hex(""));
}

TEST(ManifestTest, ComesBackFromItsText) {
  const ScratchDir dir;
  const Manifest manifest = WriteRanks(dir.path(), 12);
  const std::string text = ManifestToJson(manifest);
  const auto read = ManifestFromJson(text);
  ASSERT_TRUE(read.ok()) << read.status() << text;
  EXPECT_EQ(read->job, manifest.job);
  EXPECT_EQ(read->step, 12u);
  EXPECT_EQ(read->unix_ms, manifest.unix_ms);
  EXPECT_EQ(read->fingerprint, manifest.fingerprint);
  EXPECT_TRUE(MessageDifferencer::Equals(read->spec, manifest.spec));
  EXPECT_EQ(read->plan.stages_size(), 2);
  EXPECT_EQ(read->plan.train_size(), 0) << "action lists are not kept";
  ASSERT_EQ(read->files.size(), 2u);
  EXPECT_EQ(read->files[1].bytes, manifest.files[1].bytes);
  EXPECT_EQ(read->files[0].tensors[1].name(), "optimizer.exp_avg.fc.weight");
  EXPECT_EQ(read->Bytes(), manifest.files[0].bytes + manifest.files[1].bytes);
  EXPECT_EQ(ManifestToJson(*read), text) << "the same manifest makes the same text";
}

TEST(DataPositionTest, FollowsFromTheStep) {
  EXPECT_EQ(PositionAfter(0, 4, 10).epoch, 0u);
  EXPECT_EQ(PositionAfter(2, 4, 10).offset, 8u);
  EXPECT_EQ(PositionAfter(3, 4, 10).epoch, 1u);
  EXPECT_EQ(PositionAfter(3, 4, 10).offset, 2u);
  EXPECT_EQ(PositionAfter(1'000'000'007, 7, 3).epoch, 2'333'333'349u);
}

TEST(ManifestTest, NamesTheDataAndThePositionInThem) {
  const ScratchDir dir;
  Manifest manifest = WriteRanks(dir.path(), 12);
  EXPECT_TRUE(ManifestFromJson(ManifestToJson(manifest))->data.files().empty()) << "as older ones";
  manifest.spec.mutable_train()->set_batch_size(10);
  manifest.data.set_samples(50);
  v1::DataFile* file = manifest.data.add_files();
  file->set_name("shard-0.bin");
  file->set_bytes(1234);
  file->set_sha256("abc");
  const std::string text = ManifestToJson(manifest);
  EXPECT_THAT(text, HasSubstr("\"epoch\": 2,"));
  EXPECT_THAT(text, HasSubstr("\"offset\": 20,"));
  const auto read = ManifestFromJson(text);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(MessageDifferencer::Equals(read->data, manifest.data));
  EXPECT_EQ(ManifestToJson(*read), text);
}

TEST(ManifestTest, EveryFlippedBitAndEveryTruncationIsReported) {
  const ScratchDir dir;
  const std::string text = ManifestToJson(WriteRanks(dir.path(), 12));
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string flipped = text;
    flipped[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    ASSERT_FALSE(ManifestFromJson(flipped).ok()) << "byte " << bit / 8 << " bit " << bit % 8;
  }
  for (size_t bytes = 0; bytes < text.size(); ++bytes) {
    ASSERT_FALSE(ManifestFromJson(absl::string_view(text).substr(0, bytes)).ok()) << bytes;
  }
}

// Changes the text and makes its own digest fit again: what a forger would do.
absl::Status Forged(std::string text, const std::string& from, const std::string& to) {
  EXPECT_THAT(text, HasSubstr(from));
  text = absl::StrReplaceAll(text, {{from, to}});
  const std::string key = "\"manifest_sha256\": \"";
  const size_t at = text.find(key) + key.size();
  text.replace(at, 64, std::string(64, '0'));
  text.replace(at, 64, Sha256Hex(text));
  return ManifestFromJson(text).status();
}

TEST(ManifestTest, RefusesAForgedOne) {
  const ScratchDir dir;
  const std::string text = ManifestToJson(WriteRanks(dir.path(), 12));
  EXPECT_TRUE(Forged(text, "kjv-1", "kjv-2").ok()) << "the forger's digest fits";
  const auto fault = [&](const std::string& from, const std::string& to) {
    const absl::Status status = Forged(text, from, to);
    EXPECT_TRUE(absl::IsDataLoss(status)) << from << " -> " << to << ": " << status;
    return std::string(status.message());
  };
  EXPECT_THAT(fault("rank-0.safetensors", "../rank-0.safetensors"), HasSubstr("not a file's name"));
  EXPECT_THAT(fault("rank-0.safetensors", ".."), HasSubstr("not a file's name"));
  EXPECT_THAT(fault("rank-1.safetensors", "rank-0.safetensors"), HasSubstr("stands twice"));
  EXPECT_THAT(fault("\"fc.bias\"", "\"fc.weight\""), HasSubstr("in two files"));
  EXPECT_THAT(fault("\"F32\"", "\"F64\""), HasSubstr("hash of its tensors"));
  EXPECT_THAT(fault("\"step\": 12", "\"step\": -12"), HasSubstr("'step'"));
  EXPECT_THAT(fault("\"step\": 12", "\"stop\": 12"), HasSubstr("'step'"));
  EXPECT_THAT(fault("\"step\": 12", "\"job\": 12"), HasSubstr("stands twice"));
  EXPECT_THAT(fault("\"schedule\"", "\"unknown\""), HasSubstr("plan"));
  EXPECT_THAT(fault("\"eps\": 1e-08", "\"eps\": {}"), HasSubstr("spec"));
}

TEST(ManifestTest, SaysThatANewerFormatNeedsANewerVersion) {
  const ScratchDir dir;
  const std::string text = ManifestToJson(WriteRanks(dir.path(), 12));
  const absl::Status status = Forged(text, "\"format_version\": 1", "\"format_version\": 2");
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(status.message(), HasSubstr("format 2"));
}

TEST(ManifestTest, SurvivesDeepAndLargeNonsense) {
  EXPECT_FALSE(ManifestFromJson(std::string(1'000'000, '[')).ok());
  EXPECT_FALSE(ManifestFromJson("").ok());
  EXPECT_FALSE(ManifestFromJson("7").ok());
  EXPECT_FALSE(ManifestFromJson(R"({"format_version":1,"manifest_sha256":"\u0030"})").ok());
  EXPECT_FALSE(ManifestFromJson(R"({"format_version":1,"manifest_sha256":""})").ok());
  std::string escaped = R"({"format_version":1,"manifest_sha256":")";
  for (int i = 0; i < 64; ++i) escaped += "\\u0030";
  EXPECT_FALSE(ManifestFromJson(escaped + "\"}").ok());
}

}  // namespace
}  // namespace penstock

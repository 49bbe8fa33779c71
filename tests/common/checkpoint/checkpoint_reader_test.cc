#include "common/checkpoint/checkpoint_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>

#include "common/checkpoint/checkpoint_dir.h"
#include "tests/common/checkpoint/sample_checkpoint.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(CheckpointReaderTest, FindsTensorsByNameWhateverRankWroteThem) {
  const ScratchDir dir;
  absl::StatusOr<CheckpointReader> opened = CheckpointReader::Open(MakeCheckpoint(dir.path(), 9));
  ASSERT_TRUE(opened.ok()) << opened.status();
  const CheckpointReader reader = *std::move(opened);
  EXPECT_EQ(reader.manifest().step, 9u);
  float weight[4] = {}, bias[2] = {};
  ASSERT_TRUE(reader.Read("fc.weight", "F32", {2, 2}, weight).ok());
  ASSERT_TRUE(reader.Read("fc.bias", "F32", {2}, bias).ok());
  EXPECT_THAT(weight, ElementsAre(1, 2, 3, 9));
  EXPECT_THAT(bias, ElementsAre(-1, 9));
  EXPECT_TRUE(reader.Has("optimizer.exp_avg.fc.weight"));
  EXPECT_FALSE(reader.Has("optimizer.exp_avg.fc.bias"));
  EXPECT_TRUE(reader.Verify().ok());
}

TEST(CheckpointReaderTest, RefusesAnotherShapeOrDtypeThanTheModels) {
  const ScratchDir dir;
  const auto reader = CheckpointReader::Open(MakeCheckpoint(dir.path(), 9));
  float out[8];
  const absl::Status shape = reader->Read("fc.weight", "F32", {2, 3}, out);
  EXPECT_TRUE(absl::IsInvalidArgument(shape));
  EXPECT_THAT(shape.message(), HasSubstr("'fc.weight' is F32 [2,2]; the model needs F32 [2,3]"));
  EXPECT_TRUE(absl::IsInvalidArgument(reader->Read("fc.weight", "I32", {2, 2}, out)));
  EXPECT_TRUE(absl::IsNotFound(reader->Read("fc.gate", "F32", {2, 2}, out)));
}

TEST(CheckpointReaderTest, ReportsDamageWhileLoading) {
  const ScratchDir dir;
  const std::string path = MakeCheckpoint(dir.path(), 9);
  std::string contents = Slurp(path + "/rank-1.safetensors");
  contents.back() ^= 1;
  Spill(path + "/rank-1.safetensors", contents);
  const auto reader = CheckpointReader::Open(path);
  ASSERT_TRUE(reader.ok()) << "the damage is in a tensor, not in a header";
  float out[4];
  EXPECT_TRUE(reader->Read("fc.weight", "F32", {2, 2}, out).ok());
  const absl::Status damaged = reader->Read("fc.bias", "F32", {2}, out);
  EXPECT_TRUE(absl::IsDataLoss(damaged));
  EXPECT_THAT(damaged.message(), HasSubstr("rank-1.safetensors: tensor 'fc.bias'"));
}

TEST(CheckpointReaderTest, ReportsFilesThatWereExchangedOrAreMissing) {
  const ScratchDir dir;
  const std::string path = MakeCheckpoint(dir.path(), 9);
  const std::string file = path + "/rank-1.safetensors", other = path + "/rank-0.safetensors";
  const std::string original = Slurp(file);
  Spill(file, Slurp(other));
  EXPECT_TRUE(absl::IsDataLoss(CheckpointReader::Open(path).status()));
  // The same size and names, but another shape.
  Spill(file, original);
  std::string reshaped = original;
  reshaped.replace(reshaped.find("\"shape\":[2]"), 11, "\"shape\":[1]");
  Spill(file, reshaped);
  EXPECT_TRUE(absl::IsDataLoss(CheckpointReader::Open(path).status()));
  std::filesystem::remove(file);
  const auto missing = CheckpointReader::Open(path);
  EXPECT_TRUE(absl::IsDataLoss(missing.status()));
  EXPECT_THAT(missing.status().message(), HasSubstr("rank-1.safetensors"));
}

TEST(CheckpointReaderTest, SaysWhenThereIsNoCheckpoint) {
  const ScratchDir dir;
  EXPECT_TRUE(absl::IsNotFound(CheckpointReader::Open(dir / "step-1").status()));
}

}  // namespace
}  // namespace penstock

#include "common/data/array_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "tests/common/data/data_files.h"
#include "tests/common/scratch_dir.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ArrayFileTest : public ::testing::Test {
 protected:
  absl::StatusOr<ArrayFile> Open(const std::vector<Array>& arrays, const ArrayShape& wanted) {
    Spill(dir_ / "d.safetensors", Safetensors(arrays));
    return ArrayFile::Open(dir_ / "d.safetensors", wanted);
  }
  std::string Fault(const std::vector<Array>& arrays, const ArrayShape& wanted) {
    const auto file = Open(arrays, wanted);
    EXPECT_TRUE(absl::IsInvalidArgument(file.status())) << file.status();
    return std::string(file.status().message());
  }

  const Array inputs_{"inputs", "F32", {2, 1, 2}, Floats({1, 2, 3, 4})};
  const Array classes_{"targets", "I64", {2}, Little(5, 8) + Little(7, 8)};
  const ArrayShape wanted_{{1, 2}, true};
  const ScratchDir dir_;
};

TEST_F(ArrayFileTest, ReadsSamplesAndClasses) {
  const auto file = Open({classes_, inputs_, {"other", "U8", {3}, "abc"}}, wanted_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->samples(), 2);
  std::vector<float> input(2);
  ASSERT_TRUE(file->ReadInput(1, 0.5, input.data()).ok());
  EXPECT_THAT(input, ElementsAre(1.5f, 2.0f));
  EXPECT_EQ(*file->ReadClass(0), 5);
  EXPECT_EQ(*file->ReadClass(1), 7);
  EXPECT_TRUE(file->CheckClasses(8).ok());
  EXPECT_THAT(file->CheckClasses(7).message(),
              HasSubstr("d.safetensors: targets[1] is 7, but the model has 7 classes"));
}

TEST_F(ArrayFileTest, ReadsBytesAndNarrowTypes) {
  const Array bytes{"inputs", "U8", {2, 1, 2}, std::string("\x00\x80\xff\x01", 4)};
  const Array narrow{"targets", "I32", {2}, Little(0xffffffff, 4) + Little(3, 4)};
  const auto file = Open({bytes, narrow}, wanted_);
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<float> input(2);
  ASSERT_TRUE(file->ReadInput(0, 1.0 / 255, input.data()).ok());
  EXPECT_THAT(input, ElementsAre(0.0f, static_cast<float>(128 / 255.0)));
  EXPECT_EQ(*file->ReadClass(0), -1);
  EXPECT_THAT(file->CheckClasses(8).message(), HasSubstr("targets[0] is -1"));
  const auto of_bytes = Open({bytes, {"targets", "U8", {2}, std::string("\xff\x02", 2)}}, wanted_);
  EXPECT_EQ(*of_bytes->ReadClass(0), 255);
}

TEST_F(ArrayFileTest, ReadsNumbersForMse) {
  const auto file = Open({inputs_, {"targets", "F32", {2, 1}, Floats({0.5f, NAN})}}, {{1, 2}, false});
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(*file->ReadNumber(0), 0.5f);
  EXPECT_TRUE(absl::IsInvalidArgument(file->ReadNumber(1).status()));
  EXPECT_TRUE(Open({inputs_, {"targets", "F32", {2}, Floats({1, 2})}}, {{1, 2}, false}).ok());
}

TEST_F(ArrayFileTest, AnInputThatIsNoNumberIsNamed) {
  const Array infinite{"inputs", "F32", {2, 1, 2}, Floats({1, 2, 3, std::numeric_limits<float>::infinity()})};
  const auto file = Open({infinite, classes_}, wanted_);
  float input[2];
  EXPECT_TRUE(file->ReadInput(0, 1, input).ok());
  EXPECT_THAT(file->ReadInput(1, 1, input).message(), HasSubstr("element 1 of inputs[1] is inf"));
  EXPECT_THAT(file->ReadInput(0, 1e39, input).message(),
              HasSubstr("element 0 of inputs[0] is 1 times the scale 1e+39"));
}

TEST_F(ArrayFileTest, RefusesArraysThatDoNotFit) {
  EXPECT_THAT(Fault({classes_}, wanted_), HasSubstr("has no array 'inputs'; it has: targets"));
  EXPECT_THAT(Fault({inputs_}, wanted_), HasSubstr("has no array 'targets'; it has: inputs"));
  EXPECT_THAT(Fault({}, wanted_), HasSubstr("it has: none"));
  EXPECT_THAT(Fault({inputs_, classes_}, {{2, 1}, true}),
              HasSubstr("'inputs' is [2, 1, 2]; the model's input [2, 1] needs [samples, 2, 1]"));
  EXPECT_THAT(Fault({inputs_, classes_}, {{2}, true}), HasSubstr("needs [samples, 2]"));
  EXPECT_THAT(Fault({{"inputs", "F64", {2, 1, 2}, std::string(32, '\0')}, classes_}, wanted_),
              HasSubstr("dtype F64; F32 and U8 are read"));
  EXPECT_THAT(Fault({inputs_, {"targets", "F32", {2}, Floats({1, 2})}}, wanted_),
              HasSubstr("'targets' is of dtype F32; cross_entropy reads I64, I32 and U8"));
  EXPECT_THAT(Fault({inputs_, classes_}, {{1, 2}, false}), HasSubstr("dtype I64; mse reads F32"));
  EXPECT_THAT(Fault({inputs_, {"targets", "U8", {3}, "abc"}}, wanted_),
              HasSubstr("'targets' is [3]; the 2 samples of 'inputs' need [2]"));
  EXPECT_THAT(Fault({inputs_, {"targets", "U8", {2, 1}, "ab"}}, wanted_), HasSubstr("'targets' is [2, 1]"));
  EXPECT_THAT(Fault({{"inputs", "F32", {0, 1, 2}, ""}, {"targets", "U8", {0}, ""}}, wanted_),
              HasSubstr("holds no samples"));
}

TEST_F(ArrayFileTest, TruncatedAtAnyByteItIsRefused) {
  const std::string whole = Safetensors({inputs_, classes_});
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    Spill(dir_ / "t", whole.substr(0, bytes));
    EXPECT_TRUE(absl::IsDataLoss(ArrayFile::Open(dir_ / "t", wanted_).status())) << bytes;
  }
}

}  // namespace
}  // namespace penstock

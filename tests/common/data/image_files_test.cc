#include "common/data/image_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/common/data/data_files.h"
#include "tests/common/scratch_dir.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string FaultOf(const absl::StatusOr<ImageFiles>& files) {
  EXPECT_TRUE(absl::IsInvalidArgument(files.status())) << files.status();
  return std::string(files.status().message());
}

class MnistTest : public ::testing::Test {
 protected:
  absl::StatusOr<ImageFiles> Open(const std::string& images, const std::string& labels) {
    Spill(dir_ / "images", images);
    Spill(dir_ / "labels", labels);
    v1::Dataset dataset;
    dataset.set_format(v1::Dataset::FORMAT_MNIST);
    dataset.set_path(dir_ / "images");
    dataset.set_labels(dir_ / "labels");
    return ImageFiles::Open(dataset);
  }

  // Two images of 2 x 3.
  const std::string images_ = IdxImages(2, 2, 3, "abcdefghijkl");
  const std::string labels_ = IdxLabels(std::string("\x03\x09", 2));
  const ScratchDir dir_;
};

TEST_F(MnistTest, ReadsImagesAndLabels) {
  const auto files = Open(images_, labels_);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->images(), 2);
  EXPECT_THAT(files->shape(), ElementsAre(1, 2, 3));
  std::string pixels(6, '\0');
  ASSERT_TRUE(files->ReadPixels(1, reinterpret_cast<unsigned char*>(pixels.data())).ok());
  EXPECT_EQ(pixels, "ghijkl");
  EXPECT_EQ(*files->ReadLabel(0), 3);
  EXPECT_EQ(*files->ReadLabel(1), 9);
}

TEST_F(MnistTest, FillsInputsOfTheSameElements) {
  const auto files = Open(images_, labels_);
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{1, 2, 3}, {6}, {2, 3}}) {
    EXPECT_TRUE(files->CheckShape(shape).ok());
  }
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{2, 3, 1}, {3, 2}, {1, 3, 2}, {7}, {}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(files->CheckShape(shape)));
  }
  EXPECT_THAT(files->CheckShape({3, 32, 32}).message(),
              HasSubstr("its images are [1, 2, 3], but the model's input is [3, 32, 32]: write model.input.features: "
                        "[1, 2, 3], or [6]"));
}

TEST_F(MnistTest, RefusesHeadersThatLie) {
  EXPECT_THAT(FaultOf(Open(labels_, labels_)), HasSubstr("images: "));
  EXPECT_THAT(FaultOf(Open(images_, images_)),
              HasSubstr("labels: begins with 0, 0, 8, 3; an idx file of labels begins"));
  EXPECT_THAT(FaultOf(Open("\x1f\x8b" + images_, labels_)), HasSubstr("images: is compressed: unpack it with gunzip"));
  std::string shorts = images_;
  shorts[2] = 0x0B;
  EXPECT_THAT(FaultOf(Open(shorts, labels_)), HasSubstr("begins with 0, 0, 11, 3"));
  EXPECT_THAT(FaultOf(Open(IdxImages(3, 2, 3, "abcdefghijkl"), labels_)),
              HasSubstr("states 3 x 2 x 3 bytes of images (byte 4), but 12 follow: it is truncated"));
  EXPECT_THAT(FaultOf(Open(IdxImages(1, 2, 3, "abcdefghijkl"), labels_)), HasSubstr("but 12 follow: it is damaged"));
  EXPECT_THAT(FaultOf(Open(IdxImages(0, 2, 3, ""), labels_)), HasSubstr("a size of 0 (byte 4)"));
  EXPECT_THAT(FaultOf(Open(IdxImages(2, 0, 3, ""), labels_)), HasSubstr("a size of 0 (byte 8)"));
  // Sizes whose product would wrap around.
  EXPECT_THAT(FaultOf(Open(IdxImages(0xffffffff, 0xffffffff, 0xffffffff, "x"), labels_)), HasSubstr("(byte 8)"));
  EXPECT_THAT(FaultOf(Open(IdxImages(0xffffffff, 65536, 65536, "x"), labels_)), HasSubstr("truncated"));
  EXPECT_THAT(FaultOf(Open(images_, IdxLabels("\1\2\3"))),
              HasSubstr("has 3 labels, " + dir_ / "images" + " has 2 images: they do not belong together"));
}

TEST_F(MnistTest, TruncatedAtAnyByteItIsRefused) {
  for (size_t bytes = 0; bytes < images_.size(); ++bytes) FaultOf(Open(images_.substr(0, bytes), labels_));
  for (size_t bytes = 0; bytes < labels_.size(); ++bytes) FaultOf(Open(images_, labels_.substr(0, bytes)));
}

TEST_F(MnistTest, ALabelThatTheModelHasNotIsNamedWithItsPlace) {
  const auto files = Open(images_, labels_);
  EXPECT_TRUE(files->CheckLabels(10).ok());
  const absl::Status status = files->CheckLabels(9);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(), dir_ / "labels" + ": byte 9: the label of image 1 is 9, but the model has 9 classes");
}

TEST_F(MnistTest, AFileThatShrinksIsAnErrorNotACrash) {
  const auto files = Open(images_, labels_);
  Spill(dir_ / "images", images_.substr(0, 20));
  unsigned char pixels[6];
  EXPECT_TRUE(absl::IsDataLoss(files->ReadPixels(1, pixels)));
}

class CifarTest : public ::testing::Test {
 protected:
  absl::StatusOr<ImageFiles> Open(const std::string& path) {
    v1::Dataset dataset;
    dataset.set_format(v1::Dataset::FORMAT_CIFAR10);
    dataset.set_path(path);
    return ImageFiles::Open(dataset);
  }
  const ScratchDir dir_;
};

TEST_F(CifarTest, AFolderMeansItsTrainingBatches) {
  Spill(dir_ / "data_batch_2.bin", CifarRecord(2, 20));
  Spill(dir_ / "data_batch_1.bin", CifarRecord(0, 0) + CifarRecord(9, 10));
  Spill(dir_ / "test_batch.bin", CifarRecord(5, 50));
  const auto files = Open(dir_.path());
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->images(), 3);
  EXPECT_THAT(files->shape(), ElementsAre(3, 32, 32));
  for (int i = 0; i < 3; ++i) {
    std::string pixels(3072, '\0');
    ASSERT_TRUE(files->ReadPixels(i, reinterpret_cast<unsigned char*>(pixels.data())).ok());
    EXPECT_EQ(pixels, CifarRecord(0, 10 * i).substr(1)) << i;
  }
  EXPECT_EQ(*files->ReadLabel(1), 9);
  EXPECT_EQ(*files->ReadLabel(2), 2);
  EXPECT_EQ(Open(dir_ / "test_batch.bin")->images(), 1);
  EXPECT_EQ(Open(dir_ / "*_batch*.bin")->images(), 4);
}

TEST_F(CifarTest, RefusesWhatIsNotRecords) {
  EXPECT_TRUE(absl::IsNotFound(Open(dir_.path()).status())) << "an empty folder";
  EXPECT_TRUE(absl::IsNotFound(Open(dir_ / "missing.bin").status()));
  Spill(dir_ / "b.bin", "");
  EXPECT_THAT(FaultOf(Open(dir_ / "b.bin")), HasSubstr("b.bin: is empty"));
  Spill(dir_ / "b.bin", CifarRecord(1, 0) + "x");
  EXPECT_THAT(FaultOf(Open(dir_ / "b.bin")), HasSubstr("has 3074 bytes, which are not whole records of 3073"));
  EXPECT_THAT(FaultOf(Open(dir_ / "b.bin")), HasSubstr("looks like CIFAR-100"));
  Spill(dir_ / "b.bin", CifarRecord(1, 0) + CifarRecord(1, 0).substr(0, 3072));
  EXPECT_THAT(FaultOf(Open(dir_ / "b.bin")), ::testing::Not(HasSubstr("CIFAR-100")));
}

TEST_F(CifarTest, LabelsAreChecked) {
  std::string many;
  for (int i = 0; i < 700; ++i) many += CifarRecord(i % 10, i);
  Spill(dir_ / "a.bin", many);
  EXPECT_TRUE(Open(dir_ / "a.bin")->CheckLabels(10).ok());
  Spill(dir_ / "b.bin", CifarRecord(1, 0) + CifarRecord(10, 0));
  EXPECT_EQ(Open(dir_ / "*.bin")->CheckLabels(100).message(),
            dir_ / "b.bin" + ": byte 3073: the label of image 701 is 10, but CIFAR-10 has 10 classes");
  EXPECT_THAT(Open(dir_ / "a.bin")->CheckLabels(5).message(), HasSubstr("byte 15365: the label of image 5 is 5"));
}

}  // namespace
}  // namespace penstock

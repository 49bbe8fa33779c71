#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "tests/common/scratch_dir.h"
#include "common/csv_file.h"
#include "worker/data/dataset.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::JobSpec Spec(const std::string& path, const std::vector<int64_t>& input_shape, v1::LossKind loss) {
  v1::JobSpec spec;
  v1::Dataset* train = spec.mutable_data()->mutable_train();
  train->set_format(v1::Dataset::FORMAT_CSV);
  train->set_path(path);
  train->set_target("label");
  train->set_part_end(1);
  train->set_scale(0.5);
  spec.mutable_model()->mutable_input()->set_dtype(v1::DTYPE_FLOAT32);
  for (const int64_t size : input_shape) spec.mutable_model()->mutable_input()->add_shape(size);
  spec.mutable_model()->set_loss(loss);
  return spec;
}

std::string FaultOf(const std::string& text) {
  const auto table = ParseCsv(text, "f.csv");
  EXPECT_TRUE(absl::IsInvalidArgument(table.status())) << text;
  return std::string(table.status().message());
}

TEST(ParseCsvTest, ReadsNumbersUnderAHeader) {
  const auto table = ParseCsv("a, \"b,c\" ,d\r\n1,2.5,-3e2\r\n\r\n\"4\", 5 ,6", "f.csv");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_THAT(table->columns, ElementsAre("a", "b,c", "d"));
  EXPECT_THAT(table->cells, ElementsAre(1, 2.5, -300, 4, 5, 6));
  EXPECT_THAT(table->lines, ElementsAre(2, 4));
}

TEST(ParseCsvTest, FaultsNameTheirPlace) {
  EXPECT_EQ(FaultOf(""), "f.csv: is empty");
  EXPECT_EQ(FaultOf(" \n\n"), "f.csv: is empty");
  EXPECT_EQ(FaultOf("a,b\n"), "f.csv: has a header but no rows");
  EXPECT_EQ(FaultOf("a,b\n1,2\n3, x1\n"), "f.csv:3:4: error: 'x1' in column 'b' is not a finite number");
  EXPECT_EQ(FaultOf("a,b\n1,\n"), "f.csv:2:3: error: '' in column 'b' is not a finite number");
  EXPECT_THAT(FaultOf("a,b\n1,nan\n"), HasSubstr("f.csv:2:3"));
  EXPECT_THAT(FaultOf("a,b\n1,1e999\n"), HasSubstr("f.csv:2:3"));
  EXPECT_THAT(FaultOf("a,b\n1,0x10z\n"), HasSubstr("f.csv:2:3"));
  EXPECT_EQ(FaultOf("a,b\n\n1,2,3\n"), "f.csv:3:5: error: the row has 3 cells, the header 2");
  EXPECT_EQ(FaultOf("a,b\n1\n"), "f.csv:2:1: error: the row has 1 cells, the header 2");
  EXPECT_EQ(FaultOf("a,a\n1,2\n"), "f.csv:1:3: error: two columns are called 'a'");
  EXPECT_EQ(FaultOf("a,,b\n1,2,3\n"), "f.csv:1:3: error: a column has no name");
  EXPECT_EQ(FaultOf("a,\"b\n1,2\n"), "f.csv:1:3: error: a quote is not closed on its line");
}

TEST(ParseCsvTest, TruncatedAtAnyByteItIsReadOrRefusedButNeverCrashes) {
  const std::string whole = "\"a\",b\r\n1.5,-2\n3,\"4e1\"\n";
  for (size_t bytes = 0; bytes <= whole.size(); ++bytes) {
    const auto table = ParseCsv(absl::string_view(whole).substr(0, bytes), "f.csv");
    if (table.ok()) {
      EXPECT_EQ(table->cells.size(), table->rows() * 2);
    }
  }
}

TEST(CsvTest, ClassTargetsAndScaledFeatures) {
  const ScratchDir dir;
  Spill(dir / "f.csv", "p0,label,p1\n2,1,4\n6,0,8\n");
  const auto source = DataSource::Open(Spec(dir / "f.csv", {1, 1, 2}, v1::LOSS_CROSS_ENTROPY), DataPart::kTrain, 2);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->samples(), 2);
  EXPECT_THAT((*source)->layout().input_shape, ElementsAre(1, 1, 2));
  EXPECT_TRUE((*source)->layout().target_shape.empty());
  EXPECT_EQ((*source)->layout().target_dtype, v1::DTYPE_INT64);
  std::vector<float> inputs(6);
  std::vector<int64_t> targets(3);
  ASSERT_TRUE((*source)
                  ->Read(std::vector<SampleRef>{{1}, {0}, {1, false}}, reinterpret_cast<char*>(inputs.data()),
                         reinterpret_cast<char*>(targets.data()))
                  .ok());
  EXPECT_THAT(inputs, ElementsAre(3, 4, 1, 2, 3, 4));
  EXPECT_THAT(targets, ElementsAre(0, 1, -100));
}

TEST(CsvTest, FloatTargetsAreNotScaled) {
  const ScratchDir dir;
  Spill(dir / "f.csv", "x,label\n2,0.25\n4,-7\n");
  const auto source = DataSource::Open(Spec(dir / "f.csv", {1}, v1::LOSS_MSE), DataPart::kTrain, 0);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_THAT((*source)->layout().target_shape, ElementsAre(1));
  std::vector<float> targets(3);
  ASSERT_TRUE((*source)
                  ->Read(std::vector<SampleRef>{{0}, {1}, {0, false}}, nullptr, reinterpret_cast<char*>(targets.data()))
                  .ok());
  EXPECT_EQ(targets[0], 0.25f);
  EXPECT_EQ(targets[1], -7.0f);
  EXPECT_TRUE(std::isnan(targets[2]));
}

TEST(CsvTest, PartsAreSharesOfTheRows) {
  const ScratchDir dir;
  Spill(dir / "f.csv", "x,label\n1,0\n2,1\n3,0\n4,1\n5,0\n");
  v1::JobSpec spec = Spec(dir / "f.csv", {1}, v1::LOSS_CROSS_ENTROPY);
  spec.mutable_data()->mutable_train()->set_part_begin(0.8);
  spec.mutable_data()->mutable_train()->set_scale(0);
  const auto source = DataSource::Open(spec, DataPart::kTrain, 2);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->samples(), 1);
  float x = 0;
  ASSERT_TRUE((*source)->Read(std::vector<SampleRef>{{0}}, reinterpret_cast<char*>(&x), nullptr).ok());
  EXPECT_EQ(x, 5) << "a scale that is not given is 1";
}

TEST(CsvTest, RefusesWhatDoesNotFitTheModel) {
  const ScratchDir dir;
  const auto fault = [&](const std::string& text, const std::vector<int64_t>& shape) {
    Spill(dir / "f.csv", text);
    const auto source = DataSource::Open(Spec(dir / "f.csv", shape, v1::LOSS_CROSS_ENTROPY), DataPart::kTrain, 2);
    EXPECT_TRUE(absl::IsInvalidArgument(source.status())) << source.status();
    return std::string(source.status().message());
  };
  EXPECT_THAT(fault("a,b\n1,2\n", {1}), HasSubstr("has no column 'label' (data's target); it has: a, b"));
  EXPECT_THAT(fault("a,b,label\n1,2,0\n", {3}),
              HasSubstr("has 2 feature columns beside 'label'; the model's input [3] needs 3"));
  EXPECT_THAT(fault("a,label\n1,2\n", {1}), HasSubstr("f.csv:2: error: column 'label': 2 is not a class"));
  EXPECT_THAT(fault("a,label\n1,0\n1,0.5\n", {1}), HasSubstr("f.csv:3: error: column 'label': 0.5 is not a class"));
  EXPECT_THAT(fault("a,label\n1,-1\n", {1}), HasSubstr("-1 is not a class"));
  EXPECT_THAT(fault("a,label\n1e300,0\n", {1}), HasSubstr("does not fit into float32"));
  EXPECT_THAT(fault("", {1}), HasSubstr("is empty"));
}

}  // namespace
}  // namespace penstock

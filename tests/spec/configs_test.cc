// The example files of configs/ are sound, and what their comments call defaults are the defaults.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "model/model_info.h"
#include "spec/cluster_spec.h"
#include "spec/file_kind.h"
#include "spec/job_file.h"

namespace penstock {
namespace {

// A copy of configs/ beside a data folder that a test can fill: the real data are made by the set-up.
class ConfigsTest : public testing::Test {
 protected:
  ConfigsTest() : root_(testing::TempDir() + "/configs_test") {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_ + "/data");
    std::filesystem::copy("configs", root_ + "/configs");
    std::ofstream(root_ + "/data/kjv.txt") << std::string(100000, 'x');
    std::ofstream csv(root_ + "/data/digits.csv");
    for (int i = 0; i < 64; ++i) csv << "p" << i << ",";
    csv << "label\n";
    for (int row = 0; row < 10; ++row) {
      for (int i = 0; i < 64; ++i) csv << i % 17 << ",";
      csv << row << "\n";
    }
  }

  absl::StatusOr<v1::JobSpec> Job(const std::string& name) const { return ReadJobFile(root_ + "/configs/" + name); }

  std::string root_;
};

TEST_F(ConfigsTest, EveryFileIsSoundAsItsKind) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root_ + "/configs")) {
    const std::string path = entry.path().string();
    const absl::StatusOr<FileKind> kind = KindOfFile(path);
    ASSERT_TRUE(kind.ok()) << kind.status();
    const absl::Status read = *kind == FileKind::kCluster ? ReadClusterFile(path).status() : ReadJobFile(path).status();
    EXPECT_TRUE(read.ok()) << read;
    ++files;
  }
  EXPECT_GE(files, 4);
}

TEST_F(ConfigsTest, QuickstartIsASmallByteLevelGpt) {
  const v1::JobSpec job = Job("quickstart.yaml").value();
  const ModelInfo info = InferModel(job.model()).value();
  EXPECT_EQ(info.vocab, 256);
  EXPECT_EQ(job.model().layers_size(), 8);
  // Two tables, four blocks of 12·d² + 13·d, the last norm, the head.
  EXPECT_EQ(info.ParameterElements(), 256 * 128 + 128 * 128 + 4 * (12 * 128 * 128 + 13 * 128) + 2 * 128 + 256 * 128);
  EXPECT_EQ(job.pipeline().stages(), 3u);
  EXPECT_TRUE(job.eval().has_sample());
}

TEST_F(ConfigsTest, DigitsIsAConvolutionalNetOfTenClasses) {
  const ModelInfo info = InferModel(Job("digits.yaml").value().model()).value();
  EXPECT_EQ(info.classes, 10);
  EXPECT_EQ(info.vocab, 0);
}

// A key that the commented file calls a default must be one: without it, the same spec.
TEST_F(ConfigsTest, KeysThatAreSaidToBeDefaultsAre) {
  std::ifstream in(root_ + "/configs/job.yaml");
  std::stringstream text;
  std::string line;
  const std::vector<std::string> optional = {"  order: shuffled", "  split: auto", "  threads: 1",
                                             "  precision: fp32", "  seed: 1",     "  keep: 3",
                                             "  every: 10",       "  hash: false", "  shared_memory: true"};
  size_t removed = 0;
  while (std::getline(in, line)) {
    const bool drop = std::find(optional.begin(), optional.end(), line) != optional.end();
    removed += drop;
    if (!drop && line != "log:" && line != "transport:") text << line << "\n";
  }
  EXPECT_EQ(removed, optional.size());
  std::ofstream(root_ + "/configs/short.yaml") << text.str();
  EXPECT_EQ(ToYaml(Job("short.yaml").value()), ToYaml(Job("job.yaml").value()));
}

}  // namespace
}  // namespace penstock

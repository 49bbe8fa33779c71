// The example files of configs/ are sound, and what their comments call defaults are the defaults.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "model/boundary.h"
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
    WriteImages();
    std::ofstream(root_ + "/data/kjv.txt") << std::string(100000, 'x');
    std::ofstream csv(root_ + "/data/digits.csv");
    for (int i = 0; i < 64; ++i) csv << "p" << i << ",";
    csv << "label\n";
    for (int row = 0; row < 10; ++row) {
      for (int i = 0; i < 64; ++i) csv << i % 17 << ",";
      csv << row << "\n";
    }
  }

  // One black image of 224 x 224: a length, a header, bytes.
  void WriteImages() const {
    const int bytes = 3 * 224 * 224;
    std::string header = "{\"inputs\":{\"dtype\":\"U8\",\"shape\":[1,3,224,224],\"data_offsets\":[0," +
                         std::to_string(bytes) + "]},\"targets\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[" +
                         std::to_string(bytes) + "," + std::to_string(bytes + 8) + "]}}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    std::string length(8, '\0');
    for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
    std::ofstream(root_ + "/data/images.safetensors", std::ios::binary)
        << length << header << std::string(bytes + 8, '\0');
  }

  absl::StatusOr<v1::JobSpec> Job(const std::string& name) const { return ReadJobFile(root_ + "/configs/" + name); }

  std::string root_;
};

// Two 3 x 3 convolutions with their norms at each level, down and up; a 2 x 2 one between levels; the scores.
int64_t UNetParameters(const std::vector<int64_t>& channels, int64_t classes) {
  const auto pair = [](int64_t in, int64_t out) { return 9 * in * out + 9 * out * out + 4 * out; };
  int64_t count = pair(3, channels[0]) + channels[0] * classes + classes;
  for (size_t i = 1; i < channels.size(); ++i) {
    count += pair(channels[i - 1], channels[i]) + pair(channels[i], channels[i - 1]);
    count += 4 * channels[i] * channels[i - 1] + channels[i - 1];
  }
  return count;
}

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
  EXPECT_GE(files, 8);
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

// The shapes that the networks' papers have, and the parameters that everyone counts.
TEST_F(ConfigsTest, NetworksHaveTheSizesThatAreKnownOfThem) {
  const auto info = [this](const std::string& name) { return InferModel(Job(name).value().model()).value(); };
  const auto shape = [](const ModelInfo& model, const std::string& layer) {
    for (const LayerInfo& info : model.layers) {
      if (info.name == layer) return info.output.shape;
    }
    return std::vector<int64_t>();
  };
  using Shape = std::vector<int64_t>;
  const ModelInfo resnet18 = info("resnet18.yaml");
  EXPECT_EQ(resnet18.ParameterElements(), 11'689'512);
  EXPECT_EQ(shape(resnet18, "maxpool"), (Shape{64, 56, 56}));
  EXPECT_EQ(shape(resnet18, "layer2.0.add"), (Shape{128, 28, 28}));
  EXPECT_EQ(shape(resnet18, "layer4.1.relu"), (Shape{512, 7, 7}));
  EXPECT_EQ(shape(resnet18, "fc"), (Shape{1000}));
  const ModelInfo resnet50 = info("resnet50.yaml");
  EXPECT_EQ(resnet50.ParameterElements(), 25'557'032);
  EXPECT_EQ(shape(resnet50, "layer3.5.relu"), (Shape{1024, 14, 14}));
  EXPECT_EQ(shape(resnet50, "layer4.2.relu"), (Shape{2048, 7, 7}));
  const ModelInfo unet = info("unet.yaml");
  EXPECT_EQ(unet.ParameterElements(), UNetParameters({32, 64, 128, 256, 512}, 8));
  EXPECT_EQ(shape(unet, "down.4.relu2"), (Shape{512, 14, 14}));
  EXPECT_EQ(shape(unet, "up.0.cat"), (Shape{64, 224, 224}));
  EXPECT_EQ(shape(unet, "head"), (Shape{8, 224, 224}));
  // GPipe's Table 1 has 82M of them.
  const ModelInfo amoebanet = info("amoebanet-d.yaml");
  EXPECT_EQ(amoebanet.ParameterElements(), 81'505'540);
  EXPECT_EQ(shape(amoebanet, "stem3"), (Shape{3 * 208, 28, 28}));
  EXPECT_EQ(shape(amoebanet, "cell1.normal6"), (Shape{4 * 208, 28, 28}));
  EXPECT_EQ(shape(amoebanet, "cell5.normal6"), (Shape{4 * 832, 7, 7}));
}

// Between any two cells of AmoebaNet-D two tensors cross, between a U-Net's halves one of each level and the lowest.
TEST_F(ConfigsTest, SkipsCrossTheCutsBetween) {
  const auto crossing = [this](const std::string& name, const std::string& layer) {
    const ModelInfo model = InferModel(Job(name).value().model()).value();
    std::vector<std::string> names;
    for (size_t i = 0; i < model.layers.size(); ++i) {
      if (model.layers[i].name != layer) continue;
      for (const BoundaryTensor& tensor : TensorsAcross(model, static_cast<int>(i) + 1)) names.push_back(tensor.name);
    }
    return names;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(crossing("amoebanet-d.yaml", "cell3.normal2"), (Names{"cell3.normal1", "cell3.normal2"}));
  EXPECT_EQ(crossing("unet.yaml", "down.4.relu2"),
            (Names{"down.0.relu2", "down.1.relu2", "down.2.relu2", "down.3.relu2", "down.4.relu2"}));
  EXPECT_EQ(crossing("resnet18.yaml", "layer1.0.relu1"), (Names{"maxpool", "layer1.0.relu1"}));
  EXPECT_EQ(crossing("resnet18.yaml", "layer1.0.relu"), Names{"x"});
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

// A folder with data files, and job files written into it. For tests only.
#ifndef PENSTOCK_TESTS_SPEC_SPEC_FIXTURE_H_
#define PENSTOCK_TESTS_SPEC_SPEC_FIXTURE_H_

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_replace.h"
#include "spec/job_file.h"

namespace penstock {

class SpecTest : public testing::Test {
 protected:
  SpecTest() {
    const testing::TestInfo* info = testing::UnitTest::GetInstance()->current_test_info();
    const std::string name = std::string(info->test_suite_name()) + "." + info->name();
    folder_ = (std::filesystem::path(testing::TempDir()) / name).lexically_normal().string();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    Write("text.txt", std::string(2000, 'a'));
    Write("tokens.bin", std::string(4000, '\0'));
    Write("points.csv", "a,b,c,d,label\n1,2,3,4,0\n5,6,7,8,1\n9,10,11,12,0\n");
  }

  std::string Write(const std::string& name, const std::string& text) const {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  absl::StatusOr<v1::JobSpec> Read(const std::string& text, const std::vector<std::string>& overrides = {}) const {
    return ReadJobFile(Write("job.yaml", text), overrides);
  }

  // The errors of a job file as its user sees them, but for the source lines and the folder.
  std::string ErrorsOf(const std::string& text, const std::vector<std::string>& overrides = {}) const {
    const absl::Status status = Read(text, overrides).status();
    if (status.ok()) return "OK";
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return WithoutExcerpts(status.message());
  }

  std::string WithoutExcerpts(absl::string_view message) const {
    std::string kept;
    size_t begin = 0;
    while (begin < message.size()) {
      size_t end = message.find('\n', begin);
      if (end == absl::string_view::npos) end = message.size();
      const absl::string_view line = message.substr(begin, end - begin);
      if (line.substr(0, 8).find(" | ") == absl::string_view::npos) kept.append(line.data(), line.size()).append("\n");
      begin = end + 1;
    }
    return absl::StrReplaceAll(kept, {{folder_ + "/", ""}});
  }

  // A sound job, whose parts tests replace.
  static std::string Job() {
    return R"(version: 1
kind: job
name: tiny
model:
  loss: cross_entropy
  layers:
    - embedding: {vocab: 256, dim: 8}
    - repeat: 2
      block: [{gpt_block: {heads: 2}}]
    - layer_norm
    - linear: {out: 256, name: head}
data:
  train: {format: text, path: text.txt}
  seq_len: 16
pipeline: {stages: 2, micro_batches: 4}
train:
  steps: 10
  batch_size: 8
)";
  }

  // A sound job over points.csv. Args: layers: a list for its four columns and two classes.
  static std::string CsvJob(const std::string& layers = "[{linear: {out: 2}}]") {
    return R"(version: 1
kind: job
name: csv
model:
  loss: cross_entropy
  input: {features: [4]}
  layers: )" +
           layers + R"(
data: {train: {format: csv, path: points.csv, target: label}}
train: {steps: 1, batch_size: 3}
)";
  }

  // Job() with `from` replaced. Fails the test if it is not there.
  static std::string JobWith(const std::string& from, const std::string& to) {
    EXPECT_NE(Job().find(from), std::string::npos) << from;
    return absl::StrReplaceAll(Job(), {{from, to}});
  }

  std::string folder_;
};

}  // namespace penstock

#endif  // PENSTOCK_TESTS_SPEC_SPEC_FIXTURE_H_

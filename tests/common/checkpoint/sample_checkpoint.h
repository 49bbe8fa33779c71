// A small checkpoint of two ranks, for tests.
#ifndef PENSTOCK_TESTS_COMMON_CHECKPOINT_SAMPLE_CHECKPOINT_H_
#define PENSTOCK_TESTS_COMMON_CHECKPOINT_SAMPLE_CHECKPOINT_H_

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "common/checkpoint/manifest.h"
#include "common/checkpoint/safetensors.h"
#include "common/file.h"
#include "tests/common/scratch_dir.h"

namespace penstock {

// What two ranks have written into `folder` after `step`; the values differ from step to step.
inline Manifest WriteRanks(const std::string& folder, uint64_t step) {
  std::filesystem::create_directories(folder);
  Manifest manifest;
  manifest.job = "kjv-1";
  manifest.step = step;
  manifest.unix_ms = 1767225600000;
  manifest.fingerprint = "libtorch 2.11, \"AVX2\", 1 thread";
  manifest.plan.set_schedule("1f1b");
  manifest.plan.set_micro_batches(4);
  manifest.plan.add_stages()->set_end_layer(1);
  manifest.plan.add_stages()->set_rank(1);
  manifest.plan.add_train()->add_actions()->set_kind(v1::ACTION_FORWARD);
  manifest.spec.set_name("kjv");
  manifest.spec.mutable_train()->set_seed(~uint64_t{0});
  manifest.spec.mutable_train()->mutable_optimizer()->set_eps(1e-8);
  manifest.spec.mutable_model()->add_layers()->mutable_linear()->set_out(2);
  const std::vector<float> weight = {1, 2, 3, static_cast<float>(step)};
  const std::vector<float> bias = {-1, static_cast<float>(step)};
  const std::vector<std::vector<TensorToWrite>> ranks = {
      {{"fc.weight", "F32", {2, 2}, weight.data()}, {"optimizer.exp_avg.fc.weight", "F32", {2, 2}, weight.data()}},
      {{"fc.bias", "F32", {2}, bias.data()}},
  };
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    CheckpointFile file;
    file.name = absl::StrCat("rank-", rank, ".safetensors");
    const auto written = WriteSafetensors(folder + "/" + file.name, ranks[rank]);
    if (!written.ok()) {
      ADD_FAILURE() << written.status();
      continue;
    }
    file.bytes = written->bytes;
    file.tensors = written->tensors;
    manifest.files.push_back(file);
  }
  return manifest;
}

// A committed checkpoint; its path.
inline std::string MakeCheckpoint(const std::string& dir, uint64_t step) {
  const std::string temporary = TemporaryCheckpointPath(dir, step, 1);
  const auto info = CommitCheckpoint(temporary, WriteRanks(temporary, step));
  if (!info.ok()) ADD_FAILURE() << info.status();
  return CheckpointPath(dir, step);
}

}  // namespace penstock

#endif  // PENSTOCK_TESTS_COMMON_CHECKPOINT_SAMPLE_CHECKPOINT_H_

#include "model/cost_keys.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/model/model_builder.h"

namespace penstock {
namespace {

// An embedding, four equal blocks, a norm, a head: 16 samples in 4 micro-batches.
v1::JobSpec Gpt() {
  v1::JobSpec spec;
  *spec.mutable_model() = MakeModel(v1::DTYPE_INT64, {8},
                                    {{"wte", "embedding { vocab: 32 dim: 16 }"},
                                     {"h.0", "gpt_block { heads: 2 }"},
                                     {"h.1", "gpt_block { heads: 2 }"},
                                     {"h.2", "gpt_block { heads: 2 }"},
                                     {"h.3", "gpt_block { heads: 2 }"},
                                     {"norm", "layer_norm {}"},
                                     {"head", "lm_head { vocab: 32 }"}});
  spec.mutable_train()->set_batch_size(16);
  spec.mutable_train()->set_threads(1);
  spec.mutable_train()->mutable_optimizer()->set_name(v1::Optimizer::ADAMW);
  spec.mutable_pipeline()->set_micro_batches(4);
  return spec;
}

CostKeys Keys(const v1::JobSpec& spec) {
  const absl::StatusOr<ModelInfo> model = InferModel(spec.model());
  EXPECT_TRUE(model.ok()) << model.status();
  return CostKeysOf(spec, *model);
}

TEST(CostKeysTest, EqualLayersShareAKeyAndOthersDoNot) {
  const CostKeys keys = Keys(Gpt());
  ASSERT_EQ(keys.layers.size(), 7u);
  EXPECT_EQ(keys.samples, 4);
  EXPECT_EQ(keys.layers[1], keys.layers[4]);
  EXPECT_EQ(std::set<std::string>(keys.layers.begin(), keys.layers.end()).size(), 4u);
}

TEST(CostKeysTest, NamesPlacesAndWhatOnlyInitialValuesNeedDoNotCount) {
  v1::JobSpec spec = Gpt();
  const CostKeys before = Keys(spec);
  spec.mutable_model()->mutable_layers(2)->set_name("another");
  spec.mutable_model()->mutable_layers(2)->mutable_at()->set_line(77);
  spec.mutable_train()->set_seed(9);
  EXPECT_EQ(Keys(spec).layers, before.layers);
}

TEST(CostKeysTest, NamesInsideAResidualDoNotCount) {
  v1::JobSpec spec;
  *spec.mutable_model() = MakeModel(v1::DTYPE_FLOAT32, {8},
                                    {{"in", "linear { out: 8 }"},
                                     {"r.0", "residual { block { name: 'r.0.x' linear { out: 8 } } }"},
                                     {"r.1", "residual { block { name: 'r.1.x' linear { out: 8 } } }"},
                                     {"out", "linear { out: 8 }"}});
  spec.mutable_train()->set_batch_size(2);
  spec.mutable_pipeline()->set_micro_batches(1);
  const CostKeys keys = Keys(spec);
  EXPECT_EQ(keys.layers[1], keys.layers[2]);
  // The first layer computes no gradient for its input, the last one the loss.
  EXPECT_NE(keys.layers[0], keys.layers[3]);
}

TEST(CostKeysTest, WhatChangesTheWorkChangesTheKey) {
  const std::string block = Keys(Gpt()).layers[1];
  v1::JobSpec spec = Gpt();
  spec.mutable_pipeline()->set_micro_batches(8);
  EXPECT_NE(Keys(spec).layers[1], block) << "samples";
  spec = Gpt();
  spec.mutable_train()->set_threads(2);
  EXPECT_NE(Keys(spec).layers[1], block) << "threads";
  spec = Gpt();
  spec.mutable_model()->mutable_input()->set_shape(0, 16);
  EXPECT_NE(Keys(spec).layers[1], block) << "input";
  spec = Gpt();
  spec.mutable_model()->mutable_layers(1)->mutable_gpt_block()->set_heads(4);
  EXPECT_NE(Keys(spec).layers[1], block) << "options";
}

TEST(CostKeysTest, ADefaultWrittenOutIsTheDefault) {
  v1::JobSpec spec = Gpt();
  const std::string norm = Keys(spec).layers[5];
  spec.mutable_model()->mutable_layers(5)->mutable_layer_norm()->set_eps(1e-5);
  EXPECT_EQ(Keys(spec).layers[5], norm);
}

TEST(CostKeysTest, TheLargestMicroBatchOfAnUnevenBatchIsMeasured) {
  v1::JobSpec spec = Gpt();
  spec.mutable_pipeline()->set_micro_batches(5);  // 4, 3, 3, 3, 3
  EXPECT_EQ(Keys(spec).samples, 4);
}

TEST(CostKeysTest, AGivenPlansMicroBatchesCount) {
  v1::JobSpec spec = Gpt();
  spec.mutable_pipeline()->mutable_plan()->set_micro_batches(16);
  EXPECT_EQ(Keys(spec).samples, 1);
}

}  // namespace
}  // namespace penstock

// Jobs that the planner's tests share. Testonly.
#ifndef PENSTOCK_TESTS_COORDINATOR_PLAN_JOB_SPECS_H_
#define PENSTOCK_TESTS_COORDINATOR_PLAN_JOB_SPECS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/layer_kind.h"
#include "proto/job.pb.h"

namespace penstock {

// A job of delay layers with these forward times; backward takes twice as long.
inline v1::JobSpec DelayJob(const std::vector<int64_t>& forward_us, int stages, int micro_batches) {
  v1::JobSpec spec;
  spec.set_name("delays");
  v1::Model* model = spec.mutable_model();
  model->mutable_input()->set_dtype(v1::DTYPE_FLOAT32);
  model->mutable_input()->add_shape(8);
  model->set_loss(v1::LOSS_CROSS_ENTROPY);
  for (size_t i = 0; i < forward_us.size(); ++i) {
    v1::Layer* layer = model->add_layers();
    layer->set_name(absl::StrCat("delay_", i));
    layer->mutable_delay()->set_forward_us(forward_us[i]);
    layer->mutable_delay()->set_input_grad_us(forward_us[i]);
    layer->mutable_delay()->set_weight_grad_us(forward_us[i]);
  }
  FillDefaults(model);
  spec.mutable_data()->mutable_train()->set_format(v1::Dataset::FORMAT_CSV);
  spec.mutable_train()->set_batch_size(32);
  spec.mutable_train()->set_steps(100);
  spec.mutable_train()->set_threads(1);
  spec.mutable_train()->set_precision("fp32");
  spec.mutable_train()->mutable_optimizer()->set_name(v1::Optimizer::SGD);
  spec.mutable_pipeline()->set_stages(stages);
  spec.mutable_pipeline()->set_micro_batches(micro_batches);
  spec.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_AUTO);
  spec.mutable_pipeline()->set_schedule("gpipe");
  return spec;
}

// A small GPT: embedding, position embedding, `blocks` blocks, norm, head.
inline v1::JobSpec GptJob(int blocks, int stages, int micro_batches) {
  v1::JobSpec spec = DelayJob({}, stages, micro_batches);
  spec.set_name("gpt");
  v1::Model* model = spec.mutable_model();
  model->mutable_input()->set_dtype(v1::DTYPE_INT64);
  model->mutable_input()->set_shape(0, 64);
  model->set_loss(v1::LOSS_CROSS_ENTROPY);
  const auto add = [&](const std::string& name) {
    v1::Layer* layer = model->add_layers();
    layer->set_name(name);
    return layer;
  };
  v1::Embedding* embedding = add("wte")->mutable_embedding();
  embedding->set_vocab(256);
  embedding->set_dim(128);
  add("wpe")->mutable_position_embedding()->set_context(64);
  for (int i = 0; i < blocks; ++i) add(absl::StrCat("h.", i))->mutable_gpt_block()->set_heads(4);
  add("ln_f")->mutable_layer_norm();
  add("head")->mutable_linear()->set_out(256);
  FillDefaults(model);
  spec.mutable_data()->mutable_train()->set_format(v1::Dataset::FORMAT_TEXT);
  spec.mutable_data()->set_seq_len(64);
  spec.mutable_train()->mutable_optimizer()->set_name(v1::Optimizer::ADAMW);
  return spec;
}

}  // namespace penstock

#endif  // PENSTOCK_TESTS_COORDINATOR_PLAN_JOB_SPECS_H_

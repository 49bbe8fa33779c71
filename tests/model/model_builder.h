// Models made by hand, for tests only.
#ifndef PENSTOCK_TESTS_MODEL_MODEL_BUILDER_H_
#define PENSTOCK_TESTS_MODEL_MODEL_BUILDER_H_

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "model/model_info.h"
#include "proto/model.pb.h"

namespace penstock {

// A layer from its proto text: MakeLayer("head", "linear { out: 4 }").
inline v1::Layer MakeLayer(const std::string& name, const std::string& kind) {
  v1::Layer layer;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(kind, &layer)) << kind;
  layer.set_name(name);
  return layer;
}

struct NamedKind {
  std::string name, kind;
};

inline v1::Model MakeModel(v1::DType dtype, const std::vector<int64_t>& input, const std::vector<NamedKind>& layers,
                           v1::LossKind loss = v1::LOSS_CROSS_ENTROPY) {
  v1::Model model;
  model.mutable_input()->set_dtype(dtype);
  for (int64_t size : input) model.mutable_input()->add_shape(size);
  for (const NamedKind& layer : layers) *model.add_layers() = MakeLayer(layer.name, layer.kind);
  model.set_loss(loss);
  return model;
}

// "name [2, 3] init decay" of every parameter, one a line.
inline std::string ParameterText(const LayerInfo& layer) {
  static const char* const kInits[] = {"zeros", "ones", "normal", "uniform"};
  std::string text;
  for (const ParameterSpec& parameter : layer.parameters) {
    text += parameter.name + " [" + absl::StrJoin(parameter.shape, ", ") + "] " +
            kInits[static_cast<int>(parameter.init.kind)] + (parameter.decay ? " decay\n" : "\n");
  }
  return text;
}

}  // namespace penstock

#endif  // PENSTOCK_TESTS_MODEL_MODEL_BUILDER_H_

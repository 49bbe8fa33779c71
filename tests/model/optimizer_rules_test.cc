// Which rule a parameter is updated by.
#include "model/optimizer_rules.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>

#include "model/name_pattern.h"

namespace penstock {
namespace {

v1::Optimizer Options(const std::string& text) {
  v1::Optimizer options;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &options)) << text;
  return options;
}

ParameterSpec Matrix(const std::string& name) { return {name, {2, 2}, {}, true}; }
ParameterSpec Bias(const std::string& name) { return {name, {2}, {}, false}; }

TEST(OptimizerRulesTest, OnlyDecoupledDecaySparesBiasesAndNorms) {
  for (const char* name : {"ADAMW", "LION"}) {
    const v1::Optimizer options = Options(std::string("weight_decay: 0.1 name: ") + name);
    EXPECT_EQ(RuleOf(options, Matrix("w")).weight_decay, 0.1);
    EXPECT_EQ(RuleOf(options, Bias("b")).weight_decay, 0);
  }
  for (const char* name : {"SGD", "ADAM", "RMSPROP"}) {
    const v1::Optimizer options = Options(std::string("weight_decay: 0.1 name: ") + name);
    EXPECT_EQ(RuleOf(options, Bias("b")).weight_decay, 0.1);
  }
}

TEST(OptimizerRulesTest, TheFirstGroupThatFitsCountsAlone) {
  const v1::Optimizer options = Options(R"(name: ADAMW lr: 0.01 weight_decay: 0.1
      groups { match: "h.*.bias" lr_factor: 2 } groups { match: "h.*" lr: 0.001 weight_decay: 0.5 })");
  EXPECT_EQ(RuleOf(options, Bias("h.0.bias")), (UpdateRule{2, 0}));
  EXPECT_EQ(RuleOf(options, Matrix("h.0.weight")), (UpdateRule{0.001 / 0.01, 0.5}));
  EXPECT_EQ(RuleOf(options, Matrix("head.weight")), (UpdateRule{1, 0.1}));
  EXPECT_EQ(GroupOf(options, "head.weight"), std::nullopt);
}

TEST(OptimizerRulesTest, AGroupsOwnDecayTakesBiasesToo) {
  const v1::Optimizer options = Options("name: LION weight_decay: 0.1 groups { match: '*' weight_decay: 0.5 }");
  EXPECT_EQ(RuleOf(options, Bias("b")).weight_decay, 0.5);
}

TEST(OptimizerRulesTest, PatternsFitWholeNames) {
  EXPECT_TRUE(FitsPattern("*.weight", "h.0.attn.weight"));
  EXPECT_TRUE(FitsPattern("h.?.ln_[12].*", "h.3.ln_2.bias"));
  EXPECT_FALSE(FitsPattern("h.?.*", "h.10.bias"));
  EXPECT_FALSE(FitsPattern("weight", "h.0.weight"));
  EXPECT_FALSE(FitsPattern("h.0.", "h.0.weight"));
}

TEST(OptimizerRulesTest, NamesTheTensorsOfEachOptimizersState) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(OptimizerState(Options("name: SGD")), Names{});
  EXPECT_EQ(OptimizerState(Options("name: SGD momentum: 0.9")), Names{"momentum"});
  EXPECT_EQ(OptimizerState(Options("name: ADAM")), (Names{"exp_avg", "exp_avg_sq"}));
  EXPECT_EQ(OptimizerState(Options("name: RMSPROP")), Names{"square_avg"});
  EXPECT_EQ(OptimizerState(Options("name: RMSPROP momentum: 0.9")), (Names{"square_avg", "momentum"}));
  EXPECT_EQ(OptimizerState(Options("name: LION")), Names{"exp_avg"});
}

}  // namespace
}  // namespace penstock

#include "worker/torch/self_test.h"

#include <cstdlib>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/philox.h"
#include "common/sha256.h"
#include "worker/torch/gradient_order.h"
#include "worker/torch/layers/functions.h"
#include "worker/torch/loss.h"
#include "worker/torch/optimizer.h"
#include "worker/torch/torch_guard.h"

namespace penstock {
namespace {

void Hash(const at::Tensor& tensor, Sha256* sha) {
  const at::Tensor host = tensor.contiguous().cpu();
  sha->Update(host.const_data_ptr(), host.nbytes());
}

// Fixed random inputs, each with a stream of its own.
class Inputs {
 public:
  explicit Inputs(at::Device device) : device_(device) {}

  at::Tensor Next(std::vector<int64_t> shape) {
    at::Tensor host = at::empty(shape, at::kFloat);
    Philox(/*seed=*/1, "self-test", next_++).Normal(host.mutable_data_ptr<float>(), host.numel());
    return host.to(device_);
  }

  Parameter NextParameter(std::vector<int64_t> shape) {
    Parameter parameter;
    parameter.master = parameter.value = Next(std::move(shape)).mul_(0.1);
    parameter.gradient = at::zeros_like(parameter.value);
    return parameter;
  }

 private:
  const at::Device device_;
  uint64_t next_ = 0;
};

// Output, input gradient and the gradients of `parameters`.
void HashFunction(LayerFunction* function, const std::vector<Parameter*>& parameters, const at::Tensor& x,
                  Sha256* sha) {
  LayerContext context;
  context.training = true;
  Tape tape;
  GradientOrder gradients;
  gradients.BeginPass(/*micro_batches=*/1);
  const at::Tensor y = function->Forward(x, context, &tape);
  Hash(y, sha);
  gradients.Open(0);
  Hash(function->Backward(at::mul(y, 0.5).contiguous(), context, &tape, &gradients), sha);
  gradients.Close();
  gradients.WeightGradients(0);
  for (const Parameter* parameter : parameters) Hash(parameter->gradient, sha);
}

void HashLayers(Inputs* inputs, Sha256* sha) {
  Parameter weight = inputs->NextParameter({197, 61}), bias = inputs->NextParameter({197});
  HashFunction(MakeLinear({&weight, &bias}).get(), {&weight, &bias}, inputs->Next({131, 61}), sha);
  Parameter wide = inputs->NextParameter({256, 384});
  HashFunction(MakeLinear({&wide, nullptr}).get(), {&wide}, inputs->Next({128, 384}), sha);
  Parameter kernel = inputs->NextParameter({19, 3, 3, 3}), kernel_bias = inputs->NextParameter({19});
  HashFunction(MakeConvolution(&kernel, &kernel_bias, {{1, 1}, {1, 1}, {1, 1}, false, {0, 0}, 1}).get(),
               {&kernel, &kernel_bias}, inputs->Next({5, 3, 13, 11}), sha);
  Parameter scale = inputs->NextParameter({61}), shift = inputs->NextParameter({61});
  HashFunction(MakeLayerNorm(&scale, &shift, 1e-5).get(), {&scale, &shift}, inputs->Next({37, 61}), sha);
  for (Activation activation : {Activation::kGeluTanh, Activation::kSilu, Activation::kTanh}) {
    HashFunction(MakeActivation(activation).get(), {}, inputs->Next({3, 61}), sha);
  }
  Parameter qkv = inputs->NextParameter({192, 64}), proj = inputs->NextParameter({64, 64});
  HashFunction(MakeAttention({/*heads=*/4, /*kv_heads=*/4}, {{&qkv, nullptr}}, {&proj, nullptr}).get(), {&qkv, &proj},
               inputs->Next({2, 45, 64}), sha);
}

void HashLossAndUpdate(Inputs* inputs, at::Device device, Sha256* sha) {
  Tape tape;
  const at::Tensor target = at::full({23}, 7, at::TensorOptions(device).dtype(at::kLong));
  Hash(at::full({}, LossForward(v1::LOSS_CROSS_ENTROPY, inputs->Next({23, 101}), target, 0.5, &tape)), sha);
  Hash(LossGradient(v1::LOSS_CROSS_ENTROPY, at::kFloat, 0.5, &tape), sha);
  at::Tensor value = inputs->Next({1003}), gradient = inputs->Next({1003});
  at::Tensor first = inputs->Next({1003}), second = inputs->Next({1003}).abs_();
  const at::Tensor step = at::full({}, 3.0, value.options());
  at::_fused_adamw_(value, gradient, first, second, {}, step, 1e-3, 0.9, 0.95, 0.1, 1e-8, /*amsgrad=*/false,
                    /*maximize=*/false);
  for (const at::Tensor& tensor : {value, first, second}) Hash(tensor, sha);
}

// "Intel(R) oneAPI ... Version 2024.2-Product Build 20240605 for ..." as it is, on one line.
std::string OneLine(const std::string& text) {
  return absl::StrJoin(absl::StrSplit(text, absl::ByAnyChar("\n\r\t "), absl::SkipEmpty()), " ");
}

}  // namespace

absl::StatusOr<std::string> RunSelfTest(absl::string_view device) {
  Sha256 sha;
  const absl::Status ran = RunTorch([] { return "the numeric self-test"; },
                                    [&] {
                                      const at::Device where{std::string(device)};
                                      Inputs inputs(where);
                                      HashLayers(&inputs, &sha);
                                      HashLossAndUpdate(&inputs, where, &sha);
                                      return absl::OkStatus();
                                    });
  if (!ran.ok()) return ran;
  return sha.HexDigest();
}

std::string DescribeNumerics(absl::string_view device) {
  const char* mkl_cbwr = std::getenv("MKL_CBWR");
  std::vector<std::string> facts = {
      absl::StrCat("libtorch ", TORCH_VERSION),
      OneLine(at::get_mkl_version()),
      OneLine(at::get_mkldnn_version()),
      at::get_cpu_capability(),
      absl::StrCat("MKL_CBWR=", mkl_cbwr == nullptr ? "" : mkl_cbwr),
      absl::StrCat(at::get_num_threads(), " thread(s)"),
      at::globalContext().deterministicAlgorithms() ? "deterministic" : "not deterministic"};
  // The kind of device, never its number: the ranks of a job run on different ones. Two models of a kind are told
  // apart by the self-test's hash.
  const absl::string_view kind = device.substr(0, device.find(':'));
  if (kind != "cpu") facts.push_back(absl::StrCat(kind, ", TF32 off"));
  return absl::StrJoin(facts, "; ");
}

}  // namespace penstock

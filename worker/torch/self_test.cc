#include "worker/torch/self_test.h"

#include <cstdlib>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/philox.h"
#include "common/sha256.h"
#include "worker/torch/layers/functions.h"
#include "worker/torch/loss.h"
#include "worker/torch/optimizer.h"
#include "worker/torch/torch_guard.h"

namespace penstock {
namespace {

// Hashes every gradient instead of summing it.
class HashingSink final : public GradientSink {
 public:
  explicit HashingSink(Sha256* sha) : sha_(sha) {}

  void Add(Parameter*, at::Tensor gradient) override { Hash(gradient); }
  void AddProduct(Parameter*, at::Tensor a, at::Tensor b) override { Hash(at::mm(a, b)); }

  void Hash(const at::Tensor& tensor) {
    const at::Tensor host = tensor.contiguous().cpu();
    sha_->Update(host.const_data_ptr(), host.nbytes());
  }

 private:
  Sha256* const sha_;
};

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
    parameter.value = Next(std::move(shape)).mul_(0.1);
    return parameter;
  }

 private:
  const at::Device device_;
  uint64_t next_ = 0;
};

void HashFunction(LayerFunction* function, const at::Tensor& x, HashingSink* sink) {
  LayerContext context;
  context.training = true;
  Tape tape;
  const at::Tensor y = function->Forward(x, context, &tape);
  sink->Hash(y);
  sink->Hash(function->Backward(at::mul(y, 0.5).contiguous(), context, &tape, sink));
}

void HashLayers(Inputs* inputs, HashingSink* sink) {
  Parameter weight = inputs->NextParameter({197, 61}), bias = inputs->NextParameter({197});
  HashFunction(MakeLinear({&weight, &bias}).get(), inputs->Next({131, 61}), sink);
  Parameter wide = inputs->NextParameter({256, 384});
  HashFunction(MakeLinear({&wide, nullptr}).get(), inputs->Next({128, 384}), sink);
  Parameter kernel = inputs->NextParameter({19, 3, 3, 3}), kernel_bias = inputs->NextParameter({19});
  HashFunction(MakeConv2d(&kernel, &kernel_bias, 1, 1).get(), inputs->Next({5, 3, 13, 11}), sink);
  Parameter scale = inputs->NextParameter({61}), shift = inputs->NextParameter({61});
  HashFunction(MakeLayerNorm(&scale, &shift, 1e-5).get(), inputs->Next({37, 61}), sink);
  for (Activation activation : {Activation::kGeluTanh, Activation::kSilu, Activation::kTanh}) {
    HashFunction(MakeActivation(activation).get(), inputs->Next({3, 61}), sink);
  }
  Parameter qkv = inputs->NextParameter({192, 64}), proj = inputs->NextParameter({64, 64});
  HashFunction(MakeAttention({/*heads=*/4, /*kv_heads=*/4}, {{&qkv, nullptr}}, {&proj, nullptr}).get(),
               inputs->Next({2, 45, 64}), sink);
}

void HashLossAndUpdate(Inputs* inputs, at::Device device, HashingSink* sink) {
  Tape tape;
  const at::Tensor target = at::full({23}, 7, at::TensorOptions(device).dtype(at::kLong));
  sink->Hash(at::full({}, LossForward(v1::LOSS_CROSS_ENTROPY, inputs->Next({23, 101}), target, 0.5, &tape)));
  sink->Hash(LossGradient(v1::LOSS_CROSS_ENTROPY, 0.5, &tape));
  at::Tensor value = inputs->Next({1003}), gradient = inputs->Next({1003});
  at::Tensor first = inputs->Next({1003}), second = inputs->Next({1003}).abs_();
  const at::Tensor step = at::full({}, 3.0, value.options());
  at::_fused_adamw_(value, gradient, first, second, {}, step, 1e-3, 0.9, 0.95, 0.1, 1e-8, /*amsgrad=*/false,
                    /*maximize=*/false);
  for (const at::Tensor& tensor : {value, first, second}) sink->Hash(tensor);
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
                                      HashingSink sink(&sha);
                                      HashLayers(&inputs, &sink);
                                      HashLossAndUpdate(&inputs, where, &sink);
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

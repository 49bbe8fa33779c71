#include "model/layer_reads.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "model/layer_rules.h"

namespace penstock {
namespace {

constexpr absl::string_view kInput = "input";

// "input" is the first, "input.N" the N-th.
std::optional<int> InputNumber(absl::string_view name, int inputs) {
  if (name == kInput) return 0;
  int number = 0;
  if (!absl::StartsWith(name, "input.") || !absl::SimpleAtoi(name.substr(6), &number)) return std::nullopt;
  if (number < 0 || number >= inputs || name != absl::StrCat("input.", number)) return std::nullopt;
  return number;
}

// Resolves one list.
class Resolver {
 public:
  Resolver(const LayerList& layers, int inputs, std::set<std::string>* faulty, Diagnostics* diagnostics)
      : layers_(layers), inputs_(inputs), faulty_(faulty), diagnostics_(diagnostics) {
    for (int i = 0; i < layers.size(); ++i) number_.try_emplace(layers[i].name(), i);
  }

  std::vector<Reads> Resolve() {
    std::vector<Reads> reads;
    for (int i = 0; i < layers_.size(); ++i) {
      const int before = diagnostics_->count();
      Reads of_layer = ReadsOf(i);
      if (told_ || diagnostics_->count() > before) {
        faulty_->insert(layers_[i].name());
        of_layer = {Before(i)};
        sound_ = false;
      }
      reads.push_back(std::move(of_layer));
    }
    if (sound_) FindUnread(reads);
    return reads;
  }

 private:
  static int Before(int i) { return i > 0 ? i - 1 : ListInput(0); }

  // A repeated layer has the same fault again and again: its line is told once. One whose faults are known is left
  // alone.
  void Error(int i, absl::string_view message) {
    const v1::SourceLocation& at = layers_[i].at();
    told_ = true;
    if (faulty_->contains(layers_[i].name())) return;
    if (at.line() != 0 && !places_.emplace(at.line(), at.column()).second) return;
    LayerError(layers_[i], message, diagnostics_);
  }

  Reads ReadsOf(int i) {
    told_ = false;
    const v1::Layer& layer = layers_[i];
    if (layer.from().empty()) {
      if (NeedsTwo(layer)) Error(i, "reads one tensor, the layer before it: name two or more in `from`");
      return {Before(i)};
    }
    if (layer.from_size() > 1 && !ReadsSeveral(layer)) {
      Error(i, absl::StrCat("reads one tensor, but `from` names ", layer.from_size(),
                            ": put an add or a concat before it"));
    } else if (layer.from_size() < 2 && NeedsTwo(layer)) {
      Error(i, "reads one tensor: name two or more in `from`");
    }
    Reads reads;
    for (const std::string& name : layer.from()) reads.push_back(NumberOf(i, name));
    return reads;
  }

  static bool NeedsTwo(const v1::Layer& layer) { return layer.has_add() || layer.has_concat(); }

  int NumberOf(int i, const std::string& name) {
    if (const std::optional<int> input = InputNumber(name, inputs_)) return ListInput(*input);
    const auto found = number_.find(name);
    if (found == number_.end()) {
      std::vector<std::string> candidates = {std::string(kInput)};
      for (int k = 0; k < i; ++k) candidates.push_back(layers_[k].name());
      const std::string nearest = NearestWord(name, candidates);
      Error(i, absl::StrCat("reads '", name, "', which is no layer of its list",
                            nearest.empty() ? "" : absl::StrCat("; did you mean '", nearest, "'?")));
      return Before(i);
    }
    if (found->second == i) Error(i, "reads itself: a layer reads those before it");
    if (found->second > i) {
      Error(i, absl::StrCat("reads '", name, "', which comes after it: a layer reads those before it"));
    }
    return found->second;
  }

  void FindUnread(const std::vector<Reads>& reads) {
    std::vector<bool> read(layers_.size(), false), input_read(inputs_, false);
    for (const Reads& of_layer : reads) {
      for (const int r : of_layer) (r < 0 ? input_read[-1 - r] : read[r]) = true;
    }
    for (int i = 0; i + 1 < layers_.size(); ++i) {
      if (read[i]) continue;
      Error(i, "no layer reads its output: name it in the `from` of a later layer, or leave it out");
      faulty_->insert(layers_[i].name());
    }
    for (int k = 0; k < inputs_; ++k) {
      if (input_read[k]) continue;
      Error(0, absl::StrCat("begins a list of which no layer reads 'input.", k, "'"));
      faulty_->insert(layers_[0].name());
    }
  }

  const LayerList& layers_;
  const int inputs_;
  std::set<std::string>* const faulty_;
  Diagnostics* const diagnostics_;
  std::map<std::string, int> number_;  // by name; the first of equal ones
  std::set<std::pair<uint32_t, uint32_t>> places_;
  bool told_ = false;  // the layer at hand has a fault
  bool sound_ = true;
};

}  // namespace

bool ReadsSeveral(const v1::Layer& layer) { return layer.has_add() || layer.has_concat() || layer.has_graph(); }

int NumReads(const v1::Layer& layer) { return std::max(1, layer.from_size()); }

const LayerList& InnerLayers(const v1::Layer& layer) {
  static const LayerList* const none = new LayerList();
  if (layer.has_residual()) return layer.residual().block();
  if (layer.has_graph()) return layer.graph().block();
  return *none;
}

std::vector<Reads> ResolveReads(const LayerList& layers, int inputs, std::set<std::string>* faulty,
                                Diagnostics* diagnostics) {
  return Resolver(layers, inputs, faulty, diagnostics).Resolve();
}

std::vector<Reads> ResolveReads(const LayerList& layers, int inputs) {
  std::set<std::string> faulty;
  Diagnostics ignored;
  return ResolveReads(layers, inputs, &faulty, &ignored);
}

}  // namespace penstock

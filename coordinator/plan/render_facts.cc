#include "coordinator/plan/render_facts.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/micro_batch.h"
#include "coordinator/plan/amounts.h"

namespace penstock {
namespace {

std::string OptimizerName(const v1::Optimizer& optimizer) {
  switch (optimizer.name()) {
    case v1::Optimizer::ADAM:
      return "adam";
    case v1::Optimizer::ADAMW:
      return "adamw";
    default:
      return "sgd";
  }
}

}  // namespace

Throughput ThroughputOf(const v1::JobSpec& spec) {
  const bool tokens = spec.data().seq_len() > 0 && spec.data().train().format() != v1::Dataset::FORMAT_CSV;
  return {static_cast<double>(spec.train().batch_size()) * (tokens ? spec.data().seq_len() : 1),
          tokens ? "tokens" : "samples"};
}

std::vector<std::string> LayerNames(const v1::JobSpec& spec, const v1::Stage& stage) {
  std::vector<std::string> names;
  const uint32_t end = std::min(stage.end_layer(), static_cast<uint32_t>(spec.model().layers_size()));
  for (uint32_t i = stage.first_layer(); i < end; ++i) {
    names.push_back(spec.model().layers(static_cast<int>(i)).name());
  }
  return names;
}

uint64_t LimitOf(const PlanRequest& request, size_t rank) {
  return rank < request.memory_bytes.size() ? request.memory_bytes[rank] : 0;
}

std::string WorkerOf(const std::vector<std::string>& workers, size_t rank) {
  return rank < workers.size() ? workers[rank] : "";
}

std::vector<std::vector<int>> StagesByRank(const v1::Plan& plan) {
  std::vector<std::vector<int>> stages(plan.train_size());
  for (int s = 0; s < plan.stages_size(); ++s) {
    if (plan.stages(s).rank() < stages.size()) stages[plan.stages(s).rank()].push_back(s);
  }
  return stages;
}

std::string AlignColumns(const std::vector<std::vector<std::string>>& rows, const std::vector<bool>& right) {
  std::vector<size_t> widths(right.size(), 0);
  for (const auto& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string padding(widths[c] - row[c].size(), ' ');
      absl::StrAppend(&line, c == 0 ? "" : "  ", right[c] ? padding : "", row[c], right[c] ? "" : padding);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string JobLine(const v1::JobSpec& spec, const v1::Plan& plan) {
  uint64_t parameters = 0;
  for (const v1::Stage& stage : plan.stages()) parameters += stage.parameter_bytes() / 4;
  const SampleRange first = MicroBatch(spec.train().batch_size(), plan.micro_batches(), 0);
  const std::string sequence = ThroughputOf(spec).unit == "tokens"
                                   ? absl::StrCat(" x ", spec.data().seq_len(), " tokens")
                                   : absl::StrCat(" sample", first.size() == 1 ? "" : "s");
  const bool even = spec.train().batch_size() % plan.micro_batches() == 0;
  return absl::StrCat(spec.name(), ": ", spec.model().layers_size(), " layers, ",
                      CountAmount(static_cast<double>(parameters)), " parameters, ", spec.train().precision(), ", ",
                      OptimizerName(spec.train().optimizer()), "; ", plan.micro_batches(),
                      plan.micro_batches() == 1 ? " micro-batch of " : " micro-batches of ", even ? "" : "at most ",
                      first.size(), sequence);
}

}  // namespace penstock

// A whole pipeline in one process: ranks loaded one by one, each walking its list of actions as far as it gets, in
// turn; tensors between ranks are carried by copies. Includes no torch. For tests and benchmarks; thread-compatible.
#ifndef PENSTOCK_TESTS_WORKER_TORCH_PIPELINE_H_
#define PENSTOCK_TESTS_WORKER_TORCH_PIPELINE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/action.h"
#include "model/boundary.h"
#include "worker/runtime/stage_runner.h"

namespace penstock {

// The order in which the pipeline's computations run.
enum class RunOrder {
  kGpipe,            // all forwards, then backwards 0 .. M-1
  kOneFOneB,         // each micro-batch's backward right after its forward
  kReverseBackward,  // all forwards, then backwards M-1 .. 0
  kReverseForward,   // forwards M-1 .. 0, then backwards 0 .. M-1
};

// Which ranks run which layers, and in which order.
struct PipelineLayout {
  std::vector<int> cuts;           // layers per stage
  std::vector<int> rank_of_stage;  // empty: a rank for each stage
  ActionTable train;               // compute actions, by rank; empty: RunOrder::kGpipe
};

struct StepReport {
  double loss = 0;
  double grad_norm = 0;
  bool finite = true;
  double loss_scale = 1;
  bool skipped = false;  // precision fp16: it overflowed, nothing was updated
};

class Pipeline {
 public:
  // Args:    spec_text: a v1::JobSpec in protobuf's text form; defaults are filled in.
  //          resume_from: a checkpoint's folder, or "".
  static absl::StatusOr<Pipeline> LoadLayout(Device* device, const std::string& spec_text, PipelineLayout layout,
                                             const std::string& resume_from = "");
  // The same with a rank for each stage. Args: cuts: layers per stage.
  static absl::StatusOr<Pipeline> Load(Device* device, const std::string& spec_text, const std::vector<int>& cuts,
                                       const std::string& resume_from = "") {
    return LoadLayout(device, spec_text, {.cuts = cuts}, resume_from);
  }

  // Told of each part of a step: "forward", "input gradient", "weight gradient", "recompute", "end" (norms; by rank),
  // "update" (by rank).
  using Observer = std::function<void(const char* part, int stage, absl::Duration took)>;

  // Told of each tensor that goes from one rank to another.
  void OnTensor(std::function<void(const TensorView&)> told) { on_tensor_ = std::move(told); }

  // One training step, committed; the layout's own table, or one of the orders.
  // Errors: the ranks'. Internal: a table in which nothing can go on, with what each rank waits to run.
  absl::StatusOr<StepReport> Step(uint64_t step);
  absl::StatusOr<StepReport> Step(uint64_t step, RunOrder order, const Observer& observer = nullptr);
  absl::StatusOr<v1::EvalSums> Evaluate(uint64_t batch);
  absl::StatusOr<int64_t> NextToken(const std::vector<int64_t>& tokens, double temperature, uint32_t top_k,
                                    uint64_t seed);

  // The hash of the whole state, as a checkpoint's.
  absl::StatusOr<std::string> Hash();
  // Writes and commits a checkpoint. Returns its folder.
  absl::StatusOr<std::string> Save(const std::string& dir, uint64_t step);

  LoadedRank* rank(int rank) { return ranks_[rank].get(); }
  int ranks() const { return static_cast<int>(ranks_.size()); }
  int stages() const { return static_cast<int>(rank_of_stage_.size()); }
  const v1::JobSpec& spec() const { return request_.spec(); }

 private:
  using Done = std::set<std::tuple<int, ActionKind, int>>;  // stage, kind, micro-batch

  ActionTable TableOf(RunOrder order) const;
  absl::StatusOr<StepReport> RunStep(uint64_t step, const ActionTable& table);
  absl::Status Walk(const ActionTable& table);
  // Whether what the action needs from other stages is there.
  bool Ready(const Action& action, const Done& done) const;
  // Takes what it needs from the mail, runs the action, and posts what it made for the neighbour's rank.
  absl::Status Run(const Action& action, Done* done);
  absl::Status Forward(int micro_batch);
  // Copies what `from` made for `to` into the mail, where the two are on different ranks.
  absl::Status Post(int from, int to, v1::Direction direction, int micro_batch);
  absl::Status Deliver(int to, v1::Direction direction, int micro_batch);
  // The names of what goes this way to `to`.
  std::vector<std::string> TensorsFor(int to, v1::Direction direction) const;
  LoadedRank* Of(int stage) { return ranks_[rank_of_stage_[stage]].get(); }
  absl::Status Begin(Pass pass);
  // Runs `work` and tells the observer.
  absl::Status Timed(const char* part, int stage, absl::FunctionRef<absl::Status()> work);

  v1::LoadRequest request_;
  std::vector<int> rank_of_stage_;
  ActionTable train_;
  std::vector<std::string> parameters_;  // of the model, in its order
  std::vector<std::unique_ptr<LoadedRank>> ranks_;
  uint64_t next_pass_ = 1;
  v1::LossScaleState loss_scale_;  // precision fp16
  std::function<void(const TensorView&)> on_tensor_;
  // By stage: what crosses the cut before it.
  std::vector<std::vector<BoundaryTensor>> boundaries_;
  std::map<std::tuple<int, v1::Direction, int, std::string>, ReceivedTensor> mail_;  // by stage that takes it
  Observer observer_;  // of the step under way; may be empty
};

}  // namespace penstock

#endif  // PENSTOCK_TESTS_WORKER_TORCH_PIPELINE_H_

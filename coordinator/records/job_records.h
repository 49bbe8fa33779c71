// What a job leaves under the state folder: runs/JOB/{job.yaml, metrics.jsonl, summary.json} and
// logs/JOB/rank-R.replica-K.log, with logs/JOB/all.log in the order of arrival. Thread-safe.
// Source: docs/reference.md, "On disk".
#ifndef PENSTOCK_COORDINATOR_RECORDS_JOB_RECORDS_H_
#define PENSTOCK_COORDINATOR_RECORDS_JOB_RECORDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/coordinator.pb.h"

namespace penstock {

// One line of metrics.jsonl. Numbers are written at full precision; NaN and infinity as null.
struct StepMetrics {
  uint64_t step = 0;
  double loss = 0;
  double lr = 0;
  double grad_norm = 0;
  double step_seconds = 0;
  double tokens_per_second = 0;
  double bubble = 0;
  std::optional<double> loss_scale;    // precision fp16 only, as is:
  bool skipped = false;                // its gradients overflowed, nothing was updated
  std::string sha256;                  // log.hash only
  std::optional<v1::EvalResult> eval;  // set: the line is {"step", "eval_loss", "eval_accuracy"} alone
};

class JobRecords {
 public:
  explicit JobRecords(std::string state_dir);

  std::string RunDir(const std::string& job) const;

  // Creates the job's folders and writes job.yaml. Errors: Unavailable: the file system's, with the path.
  absl::Status Create(const std::string& job, const std::string& yaml);
  absl::Status AppendMetrics(const std::string& job, const StepMetrics& metrics);
  // Writes summary.json whole (temporary file, rename): job, state, reason, step, steps, loss, eval_loss,
  // eval_accuracy, step_seconds (median over all steps but the first), tokens_per_second, sha256, checkpoint, sample,
  // measured_steps, stages, ranks.
  absl::Status WriteSummary(const v1::JobStatus& status);

  // Appends log lines to the rank's file and to all.log. A file that reaches 64 MiB is rotated once (".1").
  absl::Status AppendLog(const std::string& job, const std::vector<v1::LogLine>& lines);
  // Lines after position `from` (0: the start), at most 1 MiB of them; `next` is where to go on.
  absl::StatusOr<v1::LogChunk> ReadLog(const std::string& job, std::optional<uint32_t> rank, uint64_t from) const;
  // The last `count` lines of a rank's log; for root causes.
  std::vector<std::string> TailLog(const std::string& job, uint32_t rank, int count) const;

 private:
  std::string LogPath(const std::string& job, absl::string_view name) const;

  const std::string state_dir_;
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_RECORDS_JOB_RECORDS_H_

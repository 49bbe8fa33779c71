#include "cli/job_view.h"

#include <cmath>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/exit_code.h"
#include "cli/progress.h"
#include "cli/text_table.h"
#include "cli/units.h"

namespace penstock {
namespace {

constexpr auto kLeft = TableColumn::Align::kLeft;
constexpr auto kRight = TableColumn::Align::kRight;
constexpr auto kCut = TableColumn::Fit::kCut;
constexpr auto kWrap = TableColumn::Fit::kWrap;

// Enough of a SHA-256 to tell two checkpoints apart by eye.
constexpr size_t kShortHash = 12;

std::string LossText(const v1::JobStatus& job) { return HasFigures(job) ? absl::StrFormat("%.4f", job.loss()) : "-"; }

std::string AgeText(int64_t unix_ms, absl::Time now) {
  return unix_ms > 0 ? DurationText(now - absl::FromUnixMillis(unix_ms)) : "-";
}

std::string OneLine(const std::string& text) {
  return absl::StrJoin(absl::StrSplit(text, '\n', absl::SkipWhitespace()), " | ");
}

// Of a table's cell: "-" where there is none.
std::string ReasonText(const std::string& reason) { return reason.empty() ? "-" : OneLine(reason); }

// "  KEY         value"
void AddFact(std::string* text, const std::string& key, const std::string& value) {
  if (!value.empty()) absl::StrAppendFormat(text, "  %-11s %s\n", key, value);
}

}  // namespace

std::string StateText(v1::JobState state) { return v1::JobState_Name(state); }

std::string JobTable(const google::protobuf::RepeatedPtrField<v1::JobStatus>& jobs, int width, absl::Time now) {
  if (jobs.empty()) return "no jobs yet\n";
  TextTable table({{"JOB", kLeft, kCut},
                   {"STATE", kLeft},
                   {"STEP", kRight},
                   {"LOSS", kRight},
                   {"RATE", kRight},
                   {"AGE", kRight},
                   {"REASON", kLeft, kWrap}});
  for (const v1::JobStatus& job : jobs) {
    const std::string unit = job.unit() == "samples" ? " samples/s" : " tok/s";
    table.AddRow({job.job(), StateText(job.state()), absl::StrCat(job.step(), "/", job.steps()), LossText(job),
                  job.tokens_per_second() > 0 ? CountText(job.tokens_per_second()) + unit : "-",
                  AgeText(job.submitted_unix_ms(), now), ReasonText(job.reason())});
  }
  return table.Render(width);
}

std::string WorkerTable(const google::protobuf::RepeatedPtrField<v1::WorkerStatus>& workers, int width) {
  if (workers.empty()) return "no workers have registered\n";
  TextTable table({{"WORKER", kLeft, kCut},
                   {"STATE", kLeft},
                   {"DEVICE", kLeft},
                   {"RESIDENT", kRight},
                   {"LIMIT", kRight},
                   {"PID", kRight},
                   {"INCARNATION", kRight},
                   {"JOB", kLeft, kCut},
                   {"REASON", kLeft, kWrap}});
  for (const v1::WorkerStatus& worker : workers) {
    table.AddRow({worker.id(), worker.state(), worker.device(),
                  worker.resident_bytes() > 0 ? BytesText(worker.resident_bytes()) : "-",
                  worker.memory_bytes() > 0 ? BytesText(worker.memory_bytes()) : "-",
                  worker.pid() > 0 ? absl::StrCat(worker.pid()) : "-", absl::StrCat(worker.incarnation()),
                  worker.job().empty() ? "-" : worker.job(), ReasonText(worker.reason())});
  }
  return table.Render(width);
}

// Several stages of a rank share its worker: what is the worker's stands in the line of the first of them.
std::string StageTable(const v1::JobStatus& job, int width) {
  TextTable table({{"STAGE", kRight},
                   {"LAYERS", kLeft, kCut},
                   {"PARAMS", kRight},
                   {"BYTES", kRight},
                   {"FRAMES SENT", kRight},
                   {"RECEIVED", kRight},
                   {"BYTES SENT", kRight},
                   {"PEAK", kRight},
                   {"BUSY", kRight},
                   {"WORKER", kLeft, kCut}});
  std::map<uint32_t, uint32_t> first_stage;  // by rank
  for (const v1::StageStatus& stage : job.stages()) first_stage.emplace(stage.rank(), stage.stage());
  for (const v1::StageStatus& stage : job.stages()) {
    std::vector<std::string> cells = {absl::StrCat(stage.stage()), stage.layers(),
                                      CountText(static_cast<double>(stage.parameters())),
                                      BytesText(stage.parameter_bytes())};
    const uint32_t first = first_stage[stage.rank()];
    if (first == stage.stage()) {
      cells.insert(cells.end(), {absl::StrCat(stage.frames_sent()), absl::StrCat(stage.frames_received()),
                                 BytesText(stage.bytes_sent()),
                                 stage.peak_allocated_bytes() > 0 ? BytesText(stage.peak_allocated_bytes()) : "-",
                                 PercentText(stage.busy()), stage.worker()});
    } else {
      cells.insert(cells.end(), {"", "", "", "", "", absl::StrCat("with stage ", first)});
    }
    table.AddRow(std::move(cells));
  }
  return table.Render(width);
}

std::string JobText(const v1::JobStatus& job, int width, absl::Time now) {
  std::string text = absl::StrCat(job.job(), "  ", StateText(job.state()), "\n");
  if (job.state() == v1::FAILED) {
    absl::StrAppend(&text, FailureText(job), "\n");
  } else {
    AddFact(&text, "reason", job.reason());
  }
  if (job.step() > 0) AddFact(&text, "progress", ProgressLine(job, width > 16 ? width - 14 : 0, now));
  if (job.step_seconds() > 0) AddFact(&text, "step time", absl::StrFormat("%.3f s", job.step_seconds()));
  if (job.loss_scale() != 0) {
    AddFact(&text, "loss scale", absl::StrCat(job.loss_scale(), ", ", job.skipped_steps(), " steps skipped"));
  }
  if (job.eval().targets() > 0) {
    AddFact(&text, "evaluation",
            absl::StrFormat("step %d: loss %.4f, accuracy %.1f%%", job.eval().step(), job.eval().loss(),
                            job.eval().accuracy() * 100));
  }
  if (!job.resumed_from().empty()) {
    AddFact(&text, "resumed", absl::StrCat("from step ", job.resumed_step(), ", ", job.resumed_from()));
  }
  AddFact(&text, "submitted", AgeText(job.submitted_unix_ms(), now) + " ago");
  if (job.ended_unix_ms() > 0) AddFact(&text, "ended", AgeText(job.ended_unix_ms(), now) + " ago");
  AddFact(&text, "checkpoint", job.checkpoint());
  AddFact(&text, "sha256", job.sha256());
  AddFact(&text, "records", job.run_dir());
  if (!job.stages().empty()) absl::StrAppend(&text, "\n", StageTable(job, width));
  return text;
}

std::string ClusterText(const v1::ClusterStatus& cluster, int width, absl::Time now) {
  return absl::StrCat("cluster ", cluster.name(), " at ", cluster.address(), ", status page http://",
                      cluster.http_address(), "/statusz, version ", cluster.version(), ", up ",
                      AgeText(cluster.started_unix_ms(), now), "\n\n", WorkerTable(cluster.workers(), width), "\n",
                      JobTable(cluster.jobs(), width, now));
}

std::string CheckpointTable(const std::vector<CheckpointEntry>& checkpoints, int width) {
  TextTable table(
      {{"STEP", kRight}, {"BYTES", kRight}, {"SHA256", kLeft}, {"STATE", kLeft, kWrap}, {"PATH", kLeft, kCut}});
  for (const CheckpointEntry& entry : checkpoints) {
    table.AddRow({absl::StrCat(entry.info.step()), BytesText(entry.info.bytes()),
                  entry.info.sha256().empty() ? "-" : entry.info.sha256().substr(0, kShortHash),
                  entry.status.ok() ? "complete" : absl::StrCat("damaged: ", entry.status.message()),
                  entry.info.path()});
  }
  return table.Render(width);
}

std::string FailureText(const v1::JobStatus& job) {
  std::string text = absl::StrCat("job ", job.job(), " failed at step ", job.step(), ": ",
                                  job.failure().empty() ? job.reason() : job.failure(0));
  for (int i = 1; i < job.failure_size(); ++i) {
    for (const absl::string_view line : absl::StrSplit(job.failure(i), '\n', absl::SkipEmpty())) {
      absl::StrAppend(&text, "\n  ", line);
    }
  }
  return WithoutControls(text);
}

}  // namespace penstock

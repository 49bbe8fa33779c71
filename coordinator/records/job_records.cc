#include "coordinator/records/job_records.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "common/file.h"
#include "common/proto_json.h"
#include "common/status_macros.h"
#include "coordinator/records/log_file.h"

namespace penstock {
namespace {

using Json = nlohmann::ordered_json;

// Where a log is rotated: a day of a talkative job, and still opened by an editor.
constexpr size_t kRotateBytes = size_t{64} << 20;

// What one answer of ReadLog holds: a quarter of gRPC's message limit.
constexpr size_t kReadBytes = size_t{1} << 20;

// metrics.jsonl is never rotated: it is what plots are made of.
constexpr size_t kNeverRotate = ~size_t{0};

constexpr char kAllLog[] = "all.log";

std::string RankLog(uint32_t rank) { return absl::StrCat("rank-", rank, ".replica-0.log"); }

// A line for a terminal: a worker's output must not move the cursor or colour what follows it.
std::string Printable(absl::string_view text) {
  std::string clean(text);
  for (char& c : clean) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t') || byte == 0x7f) c = '?';
  }
  return clean;
}

// Calls add(line) for each line of the entry, with its time in front.
template <typename Add>
void ForEachLine(const v1::LogLine& entry, const Add& add) {
  const std::string time =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromUnixMillis(entry.unix_ms()), absl::UTCTimeZone());
  absl::string_view text = entry.text();
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  for (const absl::string_view line : absl::StrSplit(text, '\n')) add(time, Printable(line));
}

absl::Status CheckJob(const std::string& job) {
  if (IsPlainName(job)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("'", job, "' cannot be a job's folder"));
}

}  // namespace

JobRecords::JobRecords(std::string state_dir) : state_dir_(std::move(state_dir)) {}

std::string JobRecords::RunDir(const std::string& job) const { return JoinPath(JoinPath(state_dir_, "runs"), job); }

std::string JobRecords::LogPath(const std::string& job, absl::string_view name) const {
  return JoinPath(JoinPath(JoinPath(state_dir_, "logs"), job), name);
}

absl::Status JobRecords::Create(const std::string& job, const std::string& yaml) {
  PENSTOCK_RETURN_IF_ERROR(CheckJob(job));
  PENSTOCK_RETURN_IF_ERROR(MakeDirs(RunDir(job)));
  PENSTOCK_RETURN_IF_ERROR(MakeDirs(ParentPath(LogPath(job, kAllLog))));
  return WriteFileAtomically(JoinPath(RunDir(job), "job.yaml"), yaml);
}

absl::Status JobRecords::AppendMetrics(const std::string& job, const StepMetrics& metrics) {
  PENSTOCK_RETURN_IF_ERROR(CheckJob(job));
  Json line = {{"step", metrics.step}};
  if (metrics.eval.has_value()) {
    line["eval_loss"] = metrics.eval->loss();
    line["eval_accuracy"] = metrics.eval->accuracy();
  } else {
    line["loss"] = metrics.loss;
    line["lr"] = metrics.lr;
    line["grad_norm"] = metrics.grad_norm;
    line["step_seconds"] = metrics.step_seconds;
    line["tokens_per_second"] = metrics.tokens_per_second;
    line["bubble"] = metrics.bubble;
    if (metrics.loss_scale.has_value()) {
      line["loss_scale"] = *metrics.loss_scale;
      line["skipped"] = metrics.skipped;
    }
    if (!metrics.sha256.empty()) line["sha256"] = metrics.sha256;
  }
  return AppendToLog(JoinPath(RunDir(job), "metrics.jsonl"), JsonText(line) + "\n", kNeverRotate);
}

absl::Status JobRecords::WriteSummary(const v1::JobStatus& status) {
  PENSTOCK_RETURN_IF_ERROR(CheckJob(status.job()));
  Json summary = {
      {"job", status.job()},
      {"state", v1::JobState_Name(status.state())},
      {"reason", status.reason()},
      {"step", status.step()},
      {"steps", status.steps()},
      {"loss", status.loss()},
      {"eval_loss", nullptr},
      {"eval_accuracy", nullptr},
      {"step_seconds", status.step_seconds()},
      {"tokens_per_second", status.tokens_per_second()},
      {"sha256", status.sha256()},
      {"checkpoint", status.checkpoint()},
      {"sample", status.sample()},
      {"measured_steps", status.measured_steps()},
      {"stages", Json::array()},
      {"ranks", Json::array()},
  };
  for (const v1::StageStatus& stage : status.stages()) summary["stages"].push_back(ProtoToJson(stage));
  for (const v1::RankStatus& rank : status.ranks()) summary["ranks"].push_back(ProtoToJson(rank));
  if (status.loss_scale() != 0) {
    summary["loss_scale"] = status.loss_scale();
    summary["skipped_steps"] = status.skipped_steps();
  }
  if (status.step() <= status.resumed_step()) summary["loss"] = nullptr;  // it has done no step of its own
  if (status.has_eval()) {
    summary["eval_loss"] = status.eval().loss();
    summary["eval_accuracy"] = status.eval().accuracy();
  }
  return WriteFileAtomically(JoinPath(RunDir(status.job()), "summary.json"), JsonText(summary, 1) + "\n");
}

absl::Status JobRecords::AppendLog(const std::string& job, const std::vector<v1::LogLine>& lines) {
  PENSTOCK_RETURN_IF_ERROR(CheckJob(job));
  std::string all;
  std::map<uint32_t, std::string> ranks;
  for (const v1::LogLine& entry : lines) {
    ForEachLine(entry, [&](const std::string& time, const std::string& line) {
      absl::StrAppend(&all, time, " rank ", entry.rank(), ": ", line, "\n");
      absl::StrAppend(&ranks[entry.rank()], time, " ", line, "\n");
    });
  }
  if (all.empty()) return absl::OkStatus();
  for (const auto& [rank, text] : ranks) {
    PENSTOCK_RETURN_IF_ERROR(AppendToLog(LogPath(job, RankLog(rank)), text, kRotateBytes));
  }
  return AppendToLog(LogPath(job, kAllLog), all, kRotateBytes);
}

absl::StatusOr<v1::LogChunk> JobRecords::ReadLog(const std::string& job, std::optional<uint32_t> rank,
                                                 uint64_t from) const {
  PENSTOCK_RETURN_IF_ERROR(CheckJob(job));
  PENSTOCK_ASSIGN_OR_RETURN(LogPiece piece,
                            ReadLogPiece(LogPath(job, rank.has_value() ? RankLog(*rank) : kAllLog), from, kReadBytes));
  v1::LogChunk chunk;
  for (std::string& line : piece.lines) chunk.add_lines(std::move(line));
  chunk.set_next(piece.next);
  return chunk;
}

std::vector<std::string> JobRecords::TailLog(const std::string& job, uint32_t rank, int count) const {
  if (!CheckJob(job).ok()) return {};
  return LastLines(LogPath(job, RankLog(rank)), count);
}

}  // namespace penstock

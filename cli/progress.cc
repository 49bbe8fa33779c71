#include "cli/progress.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/exit_code.h"
#include "cli/text_table.h"
#include "cli/units.h"

namespace penstock {
namespace {

// A terminal line changes at most this often: an eye cannot read faster.
constexpr absl::Duration kRedrawEvery = absl::Milliseconds(250);
// A log file wants to know that the job lives, not each step.
constexpr absl::Duration kPlainEvery = absl::Seconds(10);
constexpr int kBarWidth = 20;
constexpr char kClearLine[] = "\r\x1b[K";

std::string Verb(v1::JobState state) {
  switch (state) {
    case v1::PENDING:
      return "wait";
    case v1::STARTING:
      return "start";
    case v1::RUNNING:
      return "train";
    case v1::CHECKPOINTING:
      return "save";
    case v1::RESTARTING:
      return "restart";
    case v1::STOPPING:
      return "stop";
    case v1::SUCCEEDED:
      return "done";
    case v1::FAILED:
      return "failed";
    case v1::STOPPED:
      return "stopped";
    default:
      return "job";
  }
}

bool Trains(v1::JobState state) {
  return state == v1::RUNNING || state == v1::CHECKPOINTING || state == v1::STOPPING || HasEnded(state);
}

std::string LossText(double loss) { return absl::StrFormat(loss < 100 ? "%.3f" : "%.4g", loss); }

// A part of the line, and how dearly it is kept: 0 always, then the largest number goes first.
struct Part {
  std::string text;
  int drop_order;
};

std::string Join(const std::vector<Part>& parts, int keep_up_to) {
  std::string line;
  for (const Part& part : parts) {
    if (part.drop_order > keep_up_to) continue;
    absl::StrAppend(&line, line.empty() ? "" : "  ", part.text);
  }
  return line;
}

std::string WaitingLine(const v1::JobStatus& job, absl::Time now) {
  const absl::Duration waited = now - absl::FromUnixMillis(job.submitted_unix_ms());
  std::string line = absl::StrFormat("%-5s  %s", Verb(job.state()), DurationText(waited));
  if (!job.reason().empty()) absl::StrAppend(&line, "  ", job.reason());
  return line;
}

std::string EvalLine(const v1::EvalResult& eval) {
  std::string line = absl::StrFormat("eval   step %d: loss %s", eval.step(), LossText(eval.loss()));
  if (eval.accuracy() > 0) absl::StrAppendFormat(&line, ", accuracy %.1f%%", eval.accuracy() * 100);
  return line;
}

}  // namespace

bool HasFigures(const v1::JobStatus& job) { return job.step() > job.resumed_step(); }

std::string ProgressLine(const v1::JobStatus& job, int width, absl::Time now) {
  const auto fit = [width](std::string line) { return width > 0 ? CutText(line, width) : line; };
  if (!Trains(job.state())) return fit(WaitingLine(job, now));

  const double share = job.steps() > 0 ? std::min(1.0, static_cast<double>(job.step()) / job.steps()) : 1.0;
  const int filled = static_cast<int>(std::floor(share * kBarWidth));
  const std::string percent = absl::StrFormat("%-5s %3d%%", Verb(job.state()), static_cast<int>(share * 100));
  const std::string bar = std::string(filled, '#') + std::string(kBarWidth - filled, '.');
  std::vector<Part> parts = {{absl::StrCat(percent, " ", bar), 0}, {absl::StrCat(job.step(), "/", job.steps()), 0}};
  if (HasFigures(job)) {
    parts.push_back({absl::StrCat("loss ", LossText(job.loss())), 0});
    parts.push_back({absl::StrFormat("lr %.1e", job.lr()), 4});
    const std::string unit = job.unit() == "samples" ? "samples/s" : "tok/s";
    parts.push_back({absl::StrCat(CountText(job.tokens_per_second()), " ", unit), 2});
    parts.push_back({absl::StrCat("bubble ", PercentText(job.bubble())), 3});
  }
  if (job.eta_seconds() > 0 && !HasEnded(job.state())) {
    parts.push_back({absl::StrCat("ETA ", DurationText(absl::Seconds(job.eta_seconds()))), 1});
  }
  if (width <= 0) return Join(parts, 4);
  for (int keep = 4; keep >= 1; --keep) {
    if (const std::string line = Join(parts, keep); TextWidth(line) <= width) return line;
  }
  parts[0].text = percent;  // the bar goes before what is left of the numbers
  for (int keep = 1; keep >= 0; --keep) {
    if (const std::string line = Join(parts, keep); TextWidth(line) <= width) return line;
  }
  return CutText(Join(parts, 0), width);
}

std::string ProgressDisplay::Update(const v1::JobStatus& job, absl::Time now) {
  std::string text;
  if (job.eval().step() > eval_step_) {
    eval_step_ = job.eval().step();
    text = absl::StrCat(Clear(), EvalLine(job.eval()), "\n");
  }
  // A checkpoint is part of the training, and short: no news of its own.
  const v1::JobState state = job.state() == v1::CHECKPOINTING ? v1::RUNNING : job.state();
  const bool changed = state_ != state || (!Trains(job.state()) && reason_ != job.reason());
  const absl::Duration every = terminal_ ? kRedrawEvery : kPlainEvery;
  if (!changed && now - shown_at_ < every && !(terminal_ && !text.empty())) return text;
  state_ = state;
  reason_ = job.reason();
  shown_at_ = now;
  // One column stays free: a line that fills the terminal would wrap on some.
  const std::string line = ProgressLine(job, width_ > 1 ? width_ - 1 : 0, now);
  if (!terminal_) return absl::StrCat(text, line, "\n");
  drawn_ = true;
  return absl::StrCat(text, kClearLine, line);
}

std::string ProgressDisplay::Clear() { return std::exchange(drawn_, false) ? kClearLine : ""; }

}  // namespace penstock

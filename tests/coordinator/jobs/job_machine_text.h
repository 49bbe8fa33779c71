// The job machine's events and commands as text, for goldens. Thread-compatible.
#ifndef PENSTOCK_TESTS_COORDINATOR_JOBS_JOB_MACHINE_TEXT_H_
#define PENSTOCK_TESTS_COORDINATOR_JOBS_JOB_MACHINE_TEXT_H_

#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/jobs/job_events.h"

namespace penstock {

struct CommandText {
  std::string operator()(const LoadRank& c) const { return absl::StrCat("load", c.rank); }
  std::string operator()(const RunRank& c) const {
    std::string text = absl::StrCat(c.mode == v1::PASS_TRAIN  ? "train"
                                    : c.mode == v1::PASS_EVAL ? "eval"
                                                              : "generate",
                                    c.rank, "[");
    if (c.mode == v1::PASS_GENERATE) {
      absl::StrAppend(&text, absl::StrJoin(c.tokens, ","));
    } else {
      absl::StrAppend(&text, c.from, "..", c.to);
    }
    return absl::StrCat(text, "]@", c.first_pass, c.hash ? "#" : "");
  }
  std::string operator()(const CancelRank& c) const { return absl::StrCat("cancel", c.rank); }
  std::string operator()(const SaveRank& c) const { return absl::StrCat("save", c.rank, "[", c.step, "]"); }
  std::string operator()(const UnloadRank& c) const { return absl::StrCat("unload", c.rank); }
  std::string operator()(const Decide& c) const {
    return absl::StrCat(c.commit ? "commit[" : "refuse[", c.step, c.last ? ",last]" : "]");
  }
  std::string operator()(const DropVotes&) const { return "drop-votes"; }
  std::string operator()(const WriteManifest& c) const { return absl::StrCat("manifest[", c.step, "]"); }
  std::string operator()(const DropCheckpoint& c) const { return absl::StrCat("drop-checkpoint[", c.step, "]"); }
  std::string operator()(const ReportEval& c) const {
    return absl::StrCat("report-eval[", c.step, ": ", c.sums.loss_sum(), "/", c.sums.targets(), "]");
  }
  std::string operator()(const ReportSample& c) const {
    return absl::StrCat("report-sample[", c.step, ": ", absl::StrJoin(c.tokens, ","), "]");
  }
  std::string operator()(const Ended&) const { return "ended"; }
};

inline std::string CommandsText(const std::vector<JobCommand>& commands) {
  return absl::StrJoin(commands, " ", [](std::string* out, const JobCommand& command) {
    absl::StrAppend(out, std::visit(CommandText(), command));
  });
}

}  // namespace penstock

#endif  // PENSTOCK_TESTS_COORDINATOR_JOBS_JOB_MACHINE_TEXT_H_

// The course of a job: what of its spec decides which passes run when. Pure; thread-compatible.
#ifndef PENSTOCK_COORDINATOR_JOBS_JOB_COURSE_H_
#define PENSTOCK_COORDINATOR_JOBS_JOB_COURSE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "proto/job.pb.h"

namespace penstock {

// What the machine needs to know of a job's spec.
struct JobCourse {
  uint64_t steps = 0;
  int ranks = 1;
  std::vector<std::string> rank_stages;  // by rank, for people: "stage 1"
  bool hash = false;                     // the state's hash after every step
  uint64_t checkpoint_every = 0;         // 0: only after the last step
  uint64_t eval_every = 0;               // 0: only after the last step; counts for the sample too
  uint32_t eval_batches = 0;             // 0: no evaluation
  uint32_t sample_tokens = 0;            // 0: no sample
  std::vector<int64_t> sample_prompt;    // not empty when a sample is asked for
  uint64_t seed = 0;
  size_t context = 0;                    // tokens a generation pass can take
  std::optional<uint64_t> resumed_step;  // completed updates in the checkpoint that it goes on from
  bool resumes_own_checkpoint = false;   // which lies in its own folder
  absl::Duration lost_after = absl::Seconds(2);
};

// The course that follows from a spec and its plan.
// Args:    sample_prompt: eval.sample.prompt as tokens; empty: no sample is asked for.
// REQUIRES: both were checked (spec/job_file.h, coordinator/plan/planner.h).
JobCourse CourseOf(const v1::JobSpec& spec, const v1::Plan& plan, std::vector<int64_t> sample_prompt);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_JOBS_JOB_COURSE_H_

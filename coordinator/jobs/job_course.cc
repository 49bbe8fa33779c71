#include "coordinator/jobs/job_course.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace penstock {
namespace {

std::vector<std::string> StagesByRank(const v1::Plan& plan, int ranks) {
  std::vector<std::string> texts(ranks);
  std::vector<int> counts(ranks, 0);
  for (int s = 0; s < plan.stages_size(); ++s) {
    const int rank = static_cast<int>(plan.stages(s).rank());
    if (rank >= ranks) continue;
    absl::StrAppend(&texts[rank], counts[rank]++ == 0 ? "" : ", ", s);
  }
  for (int r = 0; r < ranks; ++r) texts[r] = absl::StrCat(counts[r] == 1 ? "stage " : "stages ", texts[r]);
  return texts;
}

}  // namespace

JobCourse CourseOf(const v1::JobSpec& spec, const v1::Plan& plan, std::vector<int64_t> sample_prompt) {
  JobCourse course;
  course.steps = spec.train().steps();
  course.ranks = plan.train_size();
  course.rank_stages = StagesByRank(plan, course.ranks);
  course.hash = spec.log().hash();
  course.checkpoint_every = spec.checkpoint().every();
  course.eval_every = spec.eval().every();
  if (spec.data().has_eval()) course.eval_batches = spec.eval().batches();
  course.seed = spec.train().seed();
  course.context = spec.data().seq_len();
  if (!sample_prompt.empty() && course.context > 0) {
    course.sample_tokens = spec.eval().sample().tokens();
    course.sample_prompt = std::move(sample_prompt);
  }
  return course;
}

}  // namespace penstock

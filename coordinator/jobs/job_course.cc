#include "coordinator/jobs/job_course.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

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

std::vector<int64_t> PromptTokens(const v1::Dataset& data, const std::string& prompt) {
  std::vector<int64_t> tokens;
  if (data.format() == v1::Dataset::FORMAT_TEXT) {
    for (const char c : prompt) tokens.push_back(static_cast<unsigned char>(c));
    if (tokens.empty()) tokens.push_back('\n');
    return tokens;
  }
  for (absl::string_view word : absl::StrSplit(prompt, absl::ByAnyChar(" ,"), absl::SkipEmpty())) {
    int64_t token = 0;
    if (absl::SimpleAtoi(word, &token)) tokens.push_back(token);
  }
  if (tokens.empty()) tokens.push_back(0);
  return tokens;
}

std::string TokensText(const v1::Dataset& data, const std::vector<int64_t>& tokens) {
  if (data.format() != v1::Dataset::FORMAT_TEXT) return absl::StrJoin(tokens, " ");
  std::string text;
  for (const int64_t token : tokens) text.push_back(static_cast<char>(token));
  return text;
}

JobCourse CourseOf(const v1::JobSpec& spec, const v1::Plan& plan) {
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
  if (spec.eval().has_sample() && course.context > 0) {
    course.sample_tokens = spec.eval().sample().tokens();
    course.sample_prompt = PromptTokens(spec.data().train(), spec.eval().sample().prompt());
  }
  return course;
}

}  // namespace penstock

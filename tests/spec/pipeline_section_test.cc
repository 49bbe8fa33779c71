// The section `pipeline:`: schedules and their needs, schedules written as csv, recomputation.
#include "spec/pipeline_section.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/action.h"
#include "common/schedule_kind.h"
#include "spec/job_file.h"
#include "spec/schedule_csv.h"
#include "tests/spec/spec_fixture.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class PipelineSectionTest : public SpecTest {
 protected:
  // A job of five layers and eight samples with these pipeline keys; "pipeline: {" ends at column 12.
  std::string ErrorsWith(const std::string& keys) const {
    return ErrorsOf(JobWith("pipeline: {stages: 2, micro_batches: 4}", absl::StrCat("pipeline: {", keys, "}")));
  }
  v1::Pipeline PipelineWith(const std::string& keys) const {
    const auto spec = Read(JobWith("pipeline: {stages: 2, micro_batches: 4}", absl::StrCat("pipeline: {", keys, "}")));
    EXPECT_TRUE(spec.ok()) << spec.status();
    if (!spec.ok()) return {};
    // What is printed resolved reads back to the same.
    const auto again = Read(ToYaml(*spec));
    EXPECT_TRUE(again.ok()) << again.status();
    if (again.ok()) {
      v1::Pipeline first = spec->pipeline(), second = again->pipeline();
      first.clear_at();
      second.clear_at();
      EXPECT_EQ(first.DebugString(), second.DebugString());
    }
    return spec->pipeline();
  }
};

TEST_F(PipelineSectionTest, EveryScheduleCanBeNamed) {
  for (const ScheduleKind& kind : ScheduleKinds()) {
    EXPECT_EQ(PipelineWith(absl::StrCat("stages: ", 2 * kind.min_chunks, ", chunks: ", kind.min_chunks,
                                        ", micro_batches: 4, schedule: ", kind.name))
                  .schedule(),
              kind.name);
  }
  EXPECT_EQ(PipelineWith("stages: 2, micro_batches: 4, schedule: auto").schedule(), "auto");
}

TEST_F(PipelineSectionTest, KeysOfASchedule) {
  const v1::Pipeline interleaved =
      PipelineWith("stages: 4, chunks: 2, micro_batches: 6, group: 3, schedule: interleaved");
  EXPECT_EQ(interleaved.chunks(), 2u);
  EXPECT_EQ(interleaved.group(), 3u);
  EXPECT_FALSE(interleaved.reverse());
  EXPECT_TRUE(PipelineWith("stages: 2, micro_batches: 4, order: reverse").reverse());
  EXPECT_EQ(PipelineWith("stages: 2, micro_batches: 4").chunks(), 1u);
}

TEST_F(PipelineSectionTest, RecomputationIsAPolicyOrAFlagForEachLayer) {
  EXPECT_EQ(PipelineWith("micro_batches: 4").recompute(), v1::Pipeline::RECOMPUTE_NONE);
  EXPECT_EQ(PipelineWith("micro_batches: 4, recompute: none").recompute(), v1::Pipeline::RECOMPUTE_NONE);
  EXPECT_EQ(PipelineWith("micro_batches: 4, recompute: boundary").recompute(), v1::Pipeline::RECOMPUTE_BOUNDARY);
  EXPECT_EQ(PipelineWith("micro_batches: 4, recompute: except-last").recompute(), v1::Pipeline::RECOMPUTE_EXCEPT_LAST);
  const v1::Pipeline layers = PipelineWith("micro_batches: 4, recompute: [false, true, true, false, false]");
  EXPECT_EQ(layers.recompute(), v1::Pipeline::RECOMPUTE_LAYERS);
  ASSERT_EQ(layers.recompute_layers_size(), 5);
  EXPECT_TRUE(layers.recompute_layers(1));
  EXPECT_EQ(ErrorsWith("micro_batches: 4, recompute: [true]"),
            "job.yaml:15:41: error: pipeline.recompute has 1 entries, but the model has 5 layers: each needs one\n");
  EXPECT_EQ(ErrorsWith("micro_batches: 4, recompute: bondary"),
            "job.yaml:15:41: error: pipeline.recompute: expected one of none, boundary, except-last, found 'bondary'; "
            "did you mean 'boundary'?\n");
}

TEST_F(PipelineSectionTest, NeedsThatAreNotMetStandAtTheirKey) {
  EXPECT_EQ(
      ErrorsWith("stages: 2, micro_batches: 4, chunks: 2, schedule: 1f1b"),
      "job.yaml:15:49: error: pipeline.chunks is 2, but 1f1b runs one stage a rank: set it to 1, or take a schedule "
      "with several, as interleaved\n");
  EXPECT_EQ(ErrorsWith("stages: 4, micro_batches: 4, schedule: zb-v"),
            "job.yaml:15:1: error: pipeline.chunks is 1, but zb-v runs 2 stages a rank: set it to 2\n");
  EXPECT_EQ(
      ErrorsWith("stages: 4, micro_batches: 3, chunks: 2, schedule: dualpipe-v"),
      "job.yaml:15:38: error: pipeline.micro_batches is 3, but dualpipe-v on 2 ranks needs at least 4: raise it, or "
      "use fewer stages or zb-v\n");
  EXPECT_EQ(
      ErrorsWith("stages: 4, micro_batches: 5, chunks: 2, schedule: interleaved"),
      "job.yaml:15:38: error: pipeline.micro_batches is 5, which is no multiple of the 2 of interleaved's groups: "
      "set it to 4 or 6, or pipeline.group to a divisor of 5, such as 5\n");
  EXPECT_EQ(ErrorsWith("stages: 5, micro_batches: 4, chunks: 2, schedule: interleaved"),
            "job.yaml:15:20: error: pipeline.stages is 5, which cannot be dealt out to ranks of 2 stages each "
            "(pipeline.chunks): set it to 4 or 6\n");
  EXPECT_EQ(
      ErrorsWith("stages: 2, micro_batches: 4, schedule: 1f1b, order: reverse"),
      "job.yaml:15:64: error: pipeline.order is reverse, but 1f1b has an order of its own (gpipe can be reversed): "
      "leave it out\n");
  EXPECT_EQ(ErrorsWith("stages: 2, micro_batches: 4, schedule: 1f1b, group: 0"),
            "job.yaml:15:64: error: pipeline.group is 0: it must be between 1 and 2147483647\n");
  EXPECT_THAT(ErrorsWith("stages: 2, micro_batches: 4, chunk: 1"), HasSubstr("did you mean 'chunks'?"));
}

TEST_F(PipelineSectionTest, ACsvSaysEverything) {
  Write("s.csv", "0F0, 0F1,,0I0&0F2 ,0I1,0W0,0W1,,0B2\r\n1F0,1B0,1F1,1B1,,,1F2,1R2,1B2\n\n");
  const v1::Pipeline pipeline = PipelineWith("micro_batches: 3, schedule: {csv: s.csv}");
  EXPECT_EQ(pipeline.schedule(), "csv");
  EXPECT_EQ(pipeline.stages(), 2u);
  ASSERT_EQ(pipeline.csv_size(), 2);
  EXPECT_EQ(pipeline.csv(0).actions_size(), 8);
  EXPECT_TRUE(pipeline.csv(0).actions(2).fused());
  // A V: two stages on each rank.
  Write("v.csv", "0F0,3F0,3B0,0B0\n1F0,2F0,2B0,1B0\n");
  EXPECT_EQ(PipelineWith("micro_batches: 1, schedule: {csv: v.csv}").stages(), 4u);
  EXPECT_EQ(PipelineWith("micro_batches: 1, schedule: {csv: [[0F0, 0B0], [1F0, 1B0]]}").stages(), 2u);
}

TEST_F(PipelineSectionTest, AFaultOfACsvStandsAtItsCell) {
  const auto errors = [&](const std::string& text) {
    Write("s.csv", text);
    return ErrorsWith("micro_batches: 2, schedule: {csv: s.csv}");
  };
  EXPECT_EQ(errors("0F0,0F1,0B0,0B1\n"), "OK");
  EXPECT_THAT(errors("0F0,0Q1,0B0,0B1\n"), StartsWith("s.csv:1:5: error: '0Q1' is not an action"));
  EXPECT_THAT(errors("0F0, 0F1,0B0\n"),
              StartsWith("s.csv:1:13: error: malformed schedule: rank 0, action 3: 0B1 is missing; every stage runs"));
  EXPECT_THAT(
      errors("0F0,0F1,0F0,0B0,0B1\n"),
      StartsWith("s.csv:1:9: error: malformed schedule: rank 0, action 2 (0F0): stands twice, first as action 0"));
  EXPECT_THAT(errors("0F0,0F1,0B0,0F2,0B1,0B2\n"),
              StartsWith("s.csv:1:13: error: malformed schedule: rank 0, action 3 (0F2): there is no micro-batch 2"));
  EXPECT_THAT(errors("0F0,0B1,0F1,0B0\n"),
              StartsWith("s.csv:1:5: error: malformed schedule: rank 0, action 1 (0B1): comes before 0F1"));
  EXPECT_THAT(errors("0F0,0F1,0I0,0I1,0W0\n"),
              StartsWith("s.csv:1:13: error: malformed schedule: rank 0, action 3 (0I1): 0W1 is missing beside it"));
  EXPECT_THAT(errors("0F0,0F1,0B0,0B1\n1F0,1F1,0B1,1B0,1B1\n"),
              StartsWith("s.csv:2:9: error: 0B1: stage 0 is on rank 0; every stage is on one rank"));
  EXPECT_THAT(errors("0F0,0F1,0B0,0B1\n\n1F0\n"), StartsWith("s.csv:2:1: error: rank 1 has no action"));
  EXPECT_THAT(errors("0F0,0F1,0B0,0B1\n2F0\n"), StartsWith("s.csv:2:1: error: stage 1 has no action, but stage 2 has"));
  EXPECT_THAT(errors("0F0,0SEND_F0,0F1,0B0,0B1\n"),
              StartsWith("s.csv:1:5: error: malformed schedule: rank 0, action 1 (0SEND_F0): sends and receives are"));
  // Each rank's list is sound; together they cannot finish.
  EXPECT_THAT(
      errors("0F0,0B0,0F1,0B1\n1F0,1F1,1B0,1B1\n"),
      StartsWith("s.csv:1:5: error: malformed schedule: no progress: each of these waits for another: rank 0 at "
                 "0B0, rank 1 at 1F1\n  rank 0: 0F0 >>0B0<< 0F1 0B1\n  rank 1: 1F0 >>1F1<< 1B0 1B1\n"));
}

TEST_F(PipelineSectionTest, WhatStandsBesideACsvMustAgree) {
  Write("s.csv", "0F0,0B0\n1F0,1B0\n");
  EXPECT_EQ(ErrorsWith("stages: 3, micro_batches: 1, schedule: {csv: s.csv}"),
            "job.yaml:15:20: error: pipeline.stages is 3, but the csv has actions of 2 stages\n");
  EXPECT_EQ(ErrorsWith("micro_batches: 1, schedule: {csv: s.csv}, chunks: 2"),
            "job.yaml:15:54: error: 'chunks' stands beside a csv: its lists say it already\n");
  EXPECT_EQ(
      ErrorsWith("micro_batches: 1, schedule: {csv: s.csv}, recompute: boundary"),
      "job.yaml:15:65: error: pipeline.recompute stands beside a csv: write R's into its lists, before the B or I "
      "that needs them\n");
  EXPECT_EQ(ErrorsWith("micro_batches: 1, schedule: {cvs: s.csv}"),
            "job.yaml:15:41: error: unknown key 'cvs' in 'pipeline.schedule'; did you mean 'csv'?\n");
  EXPECT_THAT(ErrorsWith("micro_batches: 1, schedule: {csv: none.csv}"), HasSubstr("job.yaml:15:46: error: "));
  Write("empty.csv", "\n\n");
  EXPECT_THAT(ErrorsWith("micro_batches: 1, schedule: {csv: empty.csv}"), HasSubstr("needs one for each rank"));
  EXPECT_THAT(ErrorsWith("micro_batches: 1, schedule: {csv: [0F0]}"),
              HasSubstr("pipeline.schedule.csv[0]: expected a list of actions such as [0F0, 0B0], found '0F0'"));
}

TEST_F(PipelineSectionTest, AFileAloneIsReadAndChecked) {
  const auto table = ReadScheduleCsvFile(Write("s.csv", "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n"));
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_EQ(table->size(), 2u);
  EXPECT_EQ(ToWords((*table)[1]), (std::vector<std::string>{"1F0", "1B0", "1F1", "1B1"}));
  const auto error = [&](const std::string& text) {
    return WithoutExcerpts(ReadScheduleCsvFile(Write("s.csv", text)).status().message());
  };
  EXPECT_THAT(error("0F0,0X0\n"), StartsWith("s.csv:1:5: error: '0X0' is not an action"));
  EXPECT_THAT(error("0F0,0F1,0B1\n"),
              StartsWith("s.csv:1:12: error: malformed schedule: rank 0, action 3: 0B0 is missing"));
  EXPECT_THAT(error("0F999999999,0B0\n"), HasSubstr("has a micro-batch 999999999"));
  EXPECT_THAT(error(""), HasSubstr("has no lines"));
  EXPECT_FALSE(ReadScheduleCsvFile(folder_ + "/none.csv").ok());
}

}  // namespace
}  // namespace penstock

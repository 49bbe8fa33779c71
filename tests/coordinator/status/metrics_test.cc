#include "coordinator/status/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "tests/common/scratch_dir.h"
#include "tests/coordinator/status/sample_cluster.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(MetricsTest, SaysWhatTheClusterDoes) {
  const std::string text = MetricsText(SampleCluster());
  for (const char* line : {
           "penstock_build_info{version=\"0.1.0\"} 1\n",
           "penstock_start_time_seconds 1767225600\n",
           "penstock_workers{state=\"busy\"} 1\n",
           "penstock_workers{state=\"idle\"} 0\n",
           "penstock_jobs{state=\"RUNNING\"} 1\n",
           "penstock_jobs{state=\"PENDING\"} 1\n",
           "penstock_jobs{state=\"STOPPED\"} 0\n",
           "penstock_worker_resident_memory_bytes{worker=\"localhost/cpu.0\",device=\"cpu\"} 314572800\n",
           "penstock_job_completed_steps{job=\"kjv-1\",name=\"kjv\"} 100\n",
           "penstock_job_loss{job=\"kjv-1\",name=\"kjv\"} 2.3125\n",
           "penstock_job_bubble_ratio{job=\"kjv-1\",name=\"kjv\"} 0.25\n",
           "# TYPE penstock_stage_frames_sent_total counter\n",
           "penstock_stage_frames_sent_total{job=\"kjv-1\",stage=\"1\",rank=\"1\",worker=\"localhost/cpu.1\"} 6401\n",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(MetricsTest, EveryNameIsOursAndIsExplainedOnce) {
  std::istringstream lines(MetricsText(SampleCluster()));
  std::set<std::string> explained, typed;
  std::string line;
  const std::regex sample(R"((penstock_[a-z_]+)(\{.*\})? \S+)");
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string hash, kind, name;
    if (line.rfind("# ", 0) == 0) {
      words >> hash >> kind >> name;
      EXPECT_TRUE((kind == "HELP" ? explained : typed).insert(name).second) << line;
      continue;
    }
    std::smatch match;
    ASSERT_TRUE(std::regex_match(line, match, sample)) << line;
    EXPECT_EQ(explained.count(match[1]), 1u) << line;
    EXPECT_EQ(typed.count(match[1]), 1u) << line;
  }
  EXPECT_GT(explained.size(), 15u);
}

TEST(MetricsTest, LabelsAreEscaped) {
  v1::ClusterStatus cluster = SampleCluster();
  cluster.mutable_jobs(0)->set_name("a\"b\\c\nd");
  EXPECT_THAT(MetricsText(cluster), HasSubstr(R"(name="a\"b\\c\nd")"));
}

TEST(MetricsTest, AnEmptyClusterHasNoFamilyWithoutSamples) {
  EXPECT_THAT(MetricsText(v1::ClusterStatus()), Not(HasSubstr("penstock_job_loss")));
}

TEST(MetricsTest, PassesPromtool) {
  if (std::system("command -v promtool >/dev/null 2>&1") != 0) GTEST_SKIP() << "promtool is not installed";
  const ScratchDir dir;
  Spill(dir / "metrics", MetricsText(SampleCluster()));
  const std::string command = "promtool check metrics < " + (dir / "metrics") + " > " + (dir / "report") + " 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0) << Slurp(dir / "report");
  EXPECT_EQ(Slurp(dir / "report"), "");
}

}  // namespace
}  // namespace penstock

#include "coordinator/status/status_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/coordinator/status/sample_cluster.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const absl::Time kNow = absl::FromUnixMillis(1767225600000) + absl::Minutes(90);

// The page as a text browser shows it, roughly: tags become spaces.
std::string TextOf(const std::string& html) {
  std::string text;
  bool tag = false;
  for (const char c : html) {
    tag = c == '<' || (tag && c != '>');
    if (!tag && c != '>') text += c;
  }
  return text;
}

// Whether each opened element is closed, in order.
void ExpectBalanced(const std::string& html) {
  std::vector<std::string> open;
  for (size_t at = html.find('<'); at != std::string::npos; at = html.find('<', at + 1)) {
    const size_t end = html.find('>', at);
    ASSERT_NE(end, std::string::npos);
    const std::string tag = html.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(0, tag.find(' '));
    if (name == "!doctype" || name == "meta") continue;
    if (name[0] != '/') {
      open.push_back(name);
      continue;
    }
    ASSERT_FALSE(open.empty()) << tag;
    EXPECT_EQ("/" + open.back(), name);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty()) << open.back();
}

TEST(StatusPageTest, ShowsClusterWorkersQueueAndStages) {
  const std::string html = ClusterPage(SampleCluster(), kNow);
  ExpectBalanced(html);
  const std::string text = TextOf(html);
  for (const char* shown : {"Penstock cluster lab", "up for 1 h 30 min", "localhost/cpu.1", "no heartbeat for 2 s",
                            "300.0 MiB", "step 100 of 400, loss 2.3125", "bubble 25 %", "about 2 min to go",
                            "wte .. h.1", "6401", "8.0 GiB", "waits for 2 idle workers; 1 is idle"}) {
    EXPECT_THAT(text, HasSubstr(shown));
  }
  EXPECT_THAT(html, HasSubstr("href=\"/jobs/kjv-1\""));
  EXPECT_THAT(html, HasSubstr("http-equiv=\"refresh\""));
}

TEST(StatusPageTest, NeedsNothingButItself) {
  const std::string html = ClusterPage(SampleCluster(), kNow);
  for (const char* foreign : {"<script", "<link", "src=", "url(", "http://", "https://", "onclick"}) {
    EXPECT_THAT(html, Not(HasSubstr(foreign)));
  }
  EXPECT_THAT(html, HasSubstr("name=\"viewport\""));
  EXPECT_THAT(html, HasSubstr("prefers-color-scheme:dark"));
}

TEST(StatusPageTest, EscapesEveryTextThatComesFromOutside) {
  // Fills every text field of the message, whatever it is called, with markup.
  const std::string evil = "<img src=x onerror=alert(1)>\"'";
  v1::GetReply reply;
  std::vector<google::protobuf::Message*> messages = {reply.mutable_status(), reply.mutable_status()->add_stages(),
                                                      reply.add_checkpoints()};
  v1::ClusterStatus cluster;
  messages.push_back(&cluster);
  messages.push_back(cluster.add_workers());
  for (google::protobuf::Message* message : messages) {
    const auto* type = message->GetDescriptor();
    for (int i = 0; i < type->field_count(); ++i) {
      const auto* field = type->field(i);
      if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_STRING) continue;
      if (field->is_repeated()) {
        message->GetReflection()->AddString(message, field, evil);
      } else {
        message->GetReflection()->SetString(message, field, evil);
      }
    }
  }
  *cluster.add_jobs() = reply.status();
  for (const v1::JobState state : {v1::PENDING, v1::RUNNING, v1::FAILED}) {
    reply.mutable_status()->set_state(state);
    *cluster.mutable_jobs(0) = reply.status();
    for (const std::string& html : {ClusterPage(cluster, kNow), JobPage(reply, kNow), ErrorPage(404, evil)}) {
      EXPECT_THAT(html, Not(HasSubstr("<img")));
      EXPECT_THAT(html, HasSubstr("&lt;img"));
      ExpectBalanced(html);
    }
  }
}

TEST(StatusPageTest, AFailedJobShowsItsRootCauseFirstAndDoesNotReload) {
  v1::GetReply reply;
  *reply.mutable_status() = RunningJob();
  reply.mutable_status()->set_state(v1::FAILED);
  reply.mutable_status()->add_failure("stage 1 on localhost/cpu.1: killed by signal 9 (SIGKILL)");
  reply.mutable_status()->add_failure("stage 0: its neighbour is gone");
  v1::CheckpointInfo* checkpoint = reply.add_checkpoints();
  checkpoint->set_step(50);
  checkpoint->set_bytes(3 << 20);
  checkpoint->set_path("/data/step-50");
  const std::string html = JobPage(reply, kNow);
  ExpectBalanced(html);
  EXPECT_LT(html.find("killed by signal 9"), html.find("its neighbour is gone"));
  EXPECT_THAT(html, HasSubstr("/data/step-50"));
  EXPECT_THAT(TextOf(html), HasSubstr("Submitted again with --resume, it goes on from step 50."));
  EXPECT_THAT(html, HasSubstr("3.0 MiB"));
  EXPECT_THAT(html, Not(HasSubstr("http-equiv=\"refresh\"")));
  EXPECT_THAT(html, Not(HasSubstr("to go")));
}

TEST(StatusPageTest, AnEmptyClusterSaysHowToFillIt) {
  v1::ClusterStatus cluster;
  cluster.set_address("127.0.0.1:7400");
  const std::string text = TextOf(ClusterPage(cluster, kNow));
  EXPECT_THAT(text, HasSubstr("None was submitted yet: penstock submit -f job.yaml --addr 127.0.0.1:7400"));
  EXPECT_THAT(text, HasSubstr("None has registered."));
}

TEST(StatusPageTest, ATableOfCheckpointsFitsThePage) {
  // The 64 digits of each hash pushed its folder out of the window.
  v1::GetReply reply;
  *reply.mutable_status() = RunningJob();
  v1::CheckpointInfo* checkpoint = reply.add_checkpoints();
  checkpoint->set_sha256("0123456789abcdef0123456789abcdef");
  checkpoint->set_path("/data/step-50");
  const std::string html = JobPage(reply, kNow);
  EXPECT_THAT(TextOf(html), HasSubstr("0123456789ab…"));
  EXPECT_THAT(TextOf(html), Not(HasSubstr("0123456789abc")));
  EXPECT_THAT(html, HasSubstr("title=\"0123456789abcdef0123456789abcdef\""));
}

}  // namespace
}  // namespace penstock

// Following a job and its log against a coordinator whose answers the test scripts, over a real connection.
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "cli/client.h"
#include "cli/console.h"
#include "cli/follow_log.h"
#include "cli/reach.h"
#include "cli/watch_job.h"
#include "common/channel.h"
#include "common/grpc_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(20);

v1::JobStatus Job(v1::JobState state, uint64_t step) {
  v1::JobStatus job;
  job.set_job("kjv-1");
  job.set_state(state);
  job.set_step(step);
  job.set_steps(10);
  job.set_run_dir("/state/runs/kjv-1");
  return job;
}

// Answers each call of Watch with the next script, and serves a log of which it breaks off each chunk.
class ScriptedJobs final : public v1::Jobs::Service {
 public:
  grpc::Status Watch(grpc::ServerContext* context, const v1::WatchRequest*,
                     grpc::ServerWriter<v1::JobStatus>* writer) override {
    const size_t call = watches++;
    if (call >= scripts.size()) return ToGrpc(absl::NotFoundError("no job kjv-1; known are digits-1, digits-2"));
    for (const v1::JobStatus& job : scripts[call]) writer->Write(job);
    if (hang) {
      hanging.Notify();
      while (!context->IsCancelled()) std::this_thread::yield();
    }
    return ToGrpc(absl::UnavailableError("the coordinator goes down"));
  }

  grpc::Status Logs(grpc::ServerContext*, const v1::LogsRequest* request,
                    grpc::ServerWriter<v1::LogChunk>* writer) override {
    v1::LogChunk chunk;
    for (uint64_t i = request->from(); i < request->from() + 2 && i < 5; ++i) chunk.add_lines(absl::StrCat("line ", i));
    chunk.set_next(request->from() + chunk.lines_size());
    writer->Write(chunk);
    return chunk.next() == 5 ? grpc::Status::OK : ToGrpc(absl::UnavailableError("the coordinator goes down"));
  }

  std::vector<std::vector<v1::JobStatus>> scripts;
  bool hang = false;
  std::atomic<size_t> watches = 0;
  absl::Notification hanging;
};

class FollowTest : public ::testing::Test {
 protected:
  FollowTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    PrepareServer(&builder, "127.0.0.1:0", &port);
    builder.RegisterService(&jobs_);
    server_ = builder.BuildAndStart();
    client_ = std::make_unique<Client>(absl::StrCat("127.0.0.1:", port));
  }
  ~FollowTest() override { server_->Shutdown(); }

  ScriptedJobs jobs_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Client> client_;
  Canceller canceller_;
  std::ostringstream out_, err_;
  Console console_{&out_, &err_, {}};
};

TEST_F(FollowTest, WatchesThroughABrokenConnectionToTheEnd) {
  jobs_.scripts = {{Job(v1::PENDING, 0)}, {Job(v1::RUNNING, 3), Job(v1::SUCCEEDED, 10)}};
  const auto end = WatchJob(client_.get(), "kjv-1", kPatience, &canceller_, &console_);
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(end->state(), v1::SUCCEEDED);
  EXPECT_EQ(jobs_.watches, 2u);
  EXPECT_THAT(err_.str(), HasSubstr("wait"));
  EXPECT_THAT(err_.str(), HasSubstr("done  100%"));
}

TEST_F(FollowTest, GivesUpOnACoordinatorThatStaysAway) {
  jobs_.scripts = {{Job(v1::RUNNING, 3)}};
  const auto end = WatchJob(client_.get(), "kjv-1", absl::ZeroDuration(), &canceller_, &console_);
  EXPECT_TRUE(absl::IsUnavailable(end.status()));
  EXPECT_THAT(std::string(end.status().message()), HasSubstr(client_->address()));
}

TEST_F(FollowTest, ReportsAnUnknownJobAtOnce) {
  EXPECT_EQ(FollowJob(client_.get(), "kjv-1", false, &canceller_, &console_), 4);
  EXPECT_THAT(err_.str(), HasSubstr("known are digits-1"));
}

TEST_F(FollowTest, DetachesFromAJobAndSaysSo) {
  jobs_.scripts = {{Job(v1::RUNNING, 3)}};
  jobs_.hang = true;
  std::thread interrupt([this] {
    jobs_.hanging.WaitForNotification();
    canceller_.Cancel();
  });
  EXPECT_EQ(FollowJob(client_.get(), "kjv-1", false, &canceller_, &console_), 130);
  interrupt.join();
  EXPECT_THAT(err_.str(),
              HasSubstr("detached; job kjv-1 goes on. To watch it: penstock status kjv-1 -w --addr 127.0.0.1:"));
}

TEST_F(FollowTest, ReadsALogThroughBrokenConnectionsWithoutLossOrRepeats) {
  v1::LogsRequest request;
  request.set_job("kjv-1");
  request.set_follow(true);
  std::vector<std::string> lines;
  const absl::Status status = FollowLog(client_.get(), request, kPatience, &canceller_,
                                        [&](const std::string& line) { lines.push_back(line); });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(lines, ElementsAre("line 0", "line 1", "line 2", "line 3", "line 4"));
}

TEST_F(FollowTest, DoesNotRetryALogThatIsNotFollowed) {
  int lines = 0;
  const absl::Status status =
      FollowLog(client_.get(), v1::LogsRequest(), kPatience, &canceller_, [&](const std::string&) { ++lines; });
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(lines, 2);
}

TEST(ClientTest, SaysWhereNothingListens) {
  // Port 1 is tcpmux, which nothing here serves.
  const absl::Status status = Client("127.0.0.1:1").GetStatus().status();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(status.message(), "no coordinator answers at 127.0.0.1:1: nothing listens there");
}

TEST(ReportEndTest, PrintsResultsAsDataAndFailuresAsTalk) {
  std::ostringstream out, err;
  Console console(&out, &err, {});
  v1::JobStatus job = Job(v1::SUCCEEDED, 10);
  job.set_sample("In the beginning");
  job.set_checkpoint("/ckpt/step-10");
  job.set_sha256("abc");
  EXPECT_EQ(ReportEnd(job, /*json=*/false, /*address=*/"", &console), 0);
  EXPECT_EQ(out.str(),
            "sample:\nIn the beginning\n\n"
            "summary:    /state/runs/kjv-1/summary.json\ncheckpoint: /ckpt/step-10\nsha256:     abc\n");
  EXPECT_EQ(err.str(), "");
  out.str("");
  job.set_state(v1::FAILED);
  job.add_failure("worker localhost/cpu.1 was killed by signal 9 (SIGKILL)");
  EXPECT_EQ(ReportEnd(job, /*json=*/false, /*address=*/"", &console), 1);
  EXPECT_EQ(out.str(), "");
  // It did not say that most of the work was kept.
  EXPECT_THAT(err.str(),
              HasSubstr("killed by signal 9 (SIGKILL)\nnext: --resume goes on from /ckpt/step-10; its log and "
                        "records are in /state/runs/kjv-1"));
  job.clear_checkpoint();
  err.str("");
  EXPECT_EQ(ReportEnd(job, /*json=*/false, /*address=*/"", &console), 1);
  EXPECT_THAT(err.str(), HasSubstr("killed by signal 9 (SIGKILL)\nnext: its log and records are in /state/runs/kjv-1"));
  // On a cluster that stays there are commands for both.
  err.str("");
  EXPECT_EQ(ReportEnd(job, /*json=*/false, "127.0.0.1:7500", &console), 1);
  EXPECT_THAT(err.str(), HasSubstr("\nnext: penstock logs kjv-1 --addr 127.0.0.1:7500 shows its log\n"));
  job.set_resumed_from("/ckpt/step-4");
  EXPECT_EQ(SuggestAfterFailure(console, job, ""),
            "penstock logs kjv-1 shows its log; penstock submit -f /state/runs/kjv-1/job.yaml --resume goes on from "
            "/ckpt/step-4");
}

}  // namespace
}  // namespace penstock

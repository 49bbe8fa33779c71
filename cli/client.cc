#include "cli/client.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/channel.h"
#include "common/clock.h"
#include "common/grpc_status.h"
#include "common/limits.h"

namespace penstock {
namespace {

// The coordinator answers a Submit that goes on from a checkpoint once it has read and checked the whole of it: at the
// 100 MB/s of a slow disk so long is enough for 60 GB.
constexpr absl::Duration kResumeDeadline = absl::Minutes(10);

// Some tenths of a second a distinct layer, some seconds where one takes a second: this is for models that nobody has
// yet.
constexpr absl::Duration kMeasureDeadline = absl::Minutes(30);

}  // namespace

void Canceller::Cancel() {
  absl::MutexLock lock(&mu_);
  cancelled_ = true;
  if (context_ != nullptr) context_->TryCancel();
}

bool Canceller::Reset() {
  absl::MutexLock lock(&mu_);
  return std::exchange(cancelled_, false);
}

void Canceller::Attach(grpc::ClientContext* context) {
  absl::MutexLock lock(&mu_);
  context_ = context;
  if (cancelled_) context->TryCancel();
}

void Canceller::Detach() {
  absl::MutexLock lock(&mu_);
  context_ = nullptr;
}

Client::Client(std::string address)
    : address_(std::move(address)),
      channel_(OpenChannel(address_)),
      jobs_(v1::Jobs::NewStub(channel_)),
      cluster_(v1::Cluster::NewStub(channel_)) {}

absl::Status Client::Explain(const absl::Status& status) const {
  if (absl::IsUnavailable(status)) {
    const bool refused = absl::StrContains(status.message(), "Connection refused");
    return absl::UnavailableError(absl::StrCat("no coordinator answers at ", address_, ": ",
                                               refused ? "nothing listens there" : status.message()));
  }
  if (absl::IsDeadlineExceeded(status)) {
    return absl::DeadlineExceededError(absl::StrCat("the coordinator at ", address_, " does not answer in time"));
  }
  if (absl::IsUnimplemented(status)) {
    return absl::UnimplementedError(
        absl::StrCat("what listens at ", address_, " is not a coordinator of this version"));
  }
  return status;
}

template <typename Request, typename Reply, typename Method>
absl::StatusOr<Reply> Client::Call(Method method, const Request& request, absl::Duration patience) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(Clock::Real()->Wall() + patience));
  Reply reply;
  const absl::Status status = FromGrpc(method(&context, request, &reply));
  if (!status.ok()) return Explain(status);
  return reply;
}

absl::StatusOr<v1::SubmitReply> Client::Submit(const v1::SubmitRequest& request) {
  return Call<v1::SubmitRequest, v1::SubmitReply>(
      [this](auto* context, const auto& r, auto* reply) { return jobs_->Submit(context, r, reply); }, request,
      request.resume() ? kResumeDeadline : limits::kControlDeadline);
}

absl::StatusOr<v1::MeasureJobReply> Client::Measure(const v1::MeasureJobRequest& request) {
  return Call<v1::MeasureJobRequest, v1::MeasureJobReply>(
      [this](auto* context, const auto& r, auto* reply) { return jobs_->Measure(context, r, reply); }, request,
      kMeasureDeadline);
}

absl::StatusOr<v1::GetReply> Client::Get(const std::string& job) {
  v1::GetRequest request;
  request.set_job(job);
  return Call<v1::GetRequest, v1::GetReply>(
      [this](auto* context, const auto& r, auto* reply) { return jobs_->Get(context, r, reply); }, request,
      limits::kControlDeadline);
}

absl::StatusOr<v1::StopReply> Client::Stop(const std::string& job, bool no_checkpoint) {
  v1::StopRequest request;
  request.set_job(job);
  request.set_no_checkpoint(no_checkpoint);
  return Call<v1::StopRequest, v1::StopReply>(
      [this](auto* context, const auto& r, auto* reply) { return jobs_->Stop(context, r, reply); }, request,
      limits::kControlDeadline);
}

absl::StatusOr<v1::ClusterStatus> Client::GetStatus() {
  return Call<v1::GetStatusRequest, v1::ClusterStatus>(
      [this](auto* context, const auto& r, auto* reply) { return cluster_->GetStatus(context, r, reply); },
      v1::GetStatusRequest(), limits::kControlDeadline);
}

absl::Status Client::Shutdown(bool no_checkpoint, absl::Duration patience) {
  v1::ShutdownClusterRequest request;
  request.set_no_checkpoint(no_checkpoint);
  return Call<v1::ShutdownClusterRequest, v1::ShutdownClusterReply>(
             [this](auto* context, const auto& r, auto* reply) { return cluster_->Shutdown(context, r, reply); },
             request, patience)
      .status();
}

template <typename Reader, typename Message>
absl::Status Client::Stream(grpc::ClientContext* context, std::unique_ptr<Reader> reader, Canceller* canceller,
                            const std::function<bool(const Message&)>& on_message) {
  canceller->Attach(context);
  Message message;
  bool ended_here = false;
  while (!ended_here && reader->Read(&message)) ended_here = !on_message(message);
  if (ended_here) context->TryCancel();
  const absl::Status status = FromGrpc(reader->Finish());
  canceller->Detach();
  return ended_here ? absl::OkStatus() : Explain(status);
}

absl::Status Client::Watch(const std::string& job, Canceller* canceller,
                           const std::function<bool(const v1::JobStatus&)>& on_message) {
  grpc::ClientContext context;
  v1::WatchRequest request;
  request.set_job(job);
  return Stream(&context, jobs_->Watch(&context, request), canceller, on_message);
}

absl::Status Client::Logs(const v1::LogsRequest& request, Canceller* canceller,
                          const std::function<bool(const v1::LogChunk&)>& on_message) {
  grpc::ClientContext context;
  return Stream(&context, jobs_->Logs(&context, request), canceller, on_message);
}

absl::Status Client::Generate(const v1::GenerateRequest& request, Canceller* canceller,
                              const std::function<bool(const v1::GenerateReply&)>& on_message) {
  grpc::ClientContext context;
  return Stream(&context, jobs_->Generate(&context, request), canceller, on_message);
}

}  // namespace penstock

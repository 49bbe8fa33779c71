#include "coordinator/generation.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/tokenizer/text_stream.h"
#include "common/tokenizer/tokenizer.h"
#include "coordinator/gather.h"
#include "coordinator/plan/planner.h"
#include "coordinator/submission.h"

namespace penstock {
namespace {

absl::StatusOr<std::string> FindCheckpoint(Core* core, const v1::GenerateRequest& request) {
  if (!request.checkpoint().empty()) return request.checkpoint();
  PENSTOCK_ASSIGN_OR_RETURN(const std::string id, core->store()->Resolve(request.job()));
  PENSTOCK_ASSIGN_OR_RETURN(const StoredJob job, core->store()->Get(id));
  PENSTOCK_ASSIGN_OR_RETURN(const FoundCheckpoint found,
                            NewestComplete(CheckpointDirOf(core->state_dir(), id, job.spec)));
  return found.path;
}

// The plan over as many ranks as there are workers: any number of stages computes the same.
absl::StatusOr<v1::Plan> PlanFor(v1::JobSpec* spec, int workers) {
  PENSTOCK_ASSIGN_OR_RETURN(v1::Plan plan, MakePlan(*spec));
  if (plan.train_size() <= workers) return plan;
  v1::Pipeline* pipeline = spec->mutable_pipeline();
  pipeline->clear_plan();
  pipeline->clear_split_sizes();
  pipeline->set_split(v1::Pipeline::SPLIT_AUTO);
  pipeline->set_stages(workers);
  pipeline->set_chunks(1);
  pipeline->clear_group();
  pipeline->clear_reverse();
  pipeline->clear_csv();
  pipeline->clear_recompute();
  pipeline->set_micro_batches(plan.micro_batches());
  pipeline->set_schedule("gpipe");
  return MakePlan(*spec);
}

class Generation {
 public:
  Generation(std::shared_ptr<WorkerLease> lease, v1::JobSpec spec, v1::Plan plan, uint64_t epoch)
      : lease_(std::move(lease)),
        spec_(std::move(spec)),
        plan_(std::move(plan)),
        epoch_(epoch),
        ranks_(plan_.train_size()) {}

  ~Generation() {
    Gather<v1::UnloadReply> unloads(ranks_);
    for (int r = 0; r < ranks_; ++r) {
      v1::UnloadRequest request;
      request.set_job(lease_->name());
      request.set_incarnation(lease_->workers()[r].incarnation);
      lease_->client(r).Unload(lease_->NewCall(), std::move(request), unloads.Take(r));
    }
    const auto unloaded = unloads.Wait();
    if (!unloaded.ok()) LOG(WARNING) << lease_->name() << ": " << unloaded.status();
  }

  absl::Status Load(const std::string& checkpoint) {
    Gather<v1::LoadReply> loads(ranks_);
    for (int r = 0; r < ranks_; ++r) {
      v1::LoadRequest request;
      request.set_job(lease_->name());
      request.set_plan_epoch(epoch_);
      request.set_incarnation(lease_->workers()[r].incarnation);
      request.set_rank(r);
      *request.mutable_spec() = spec_;
      *request.mutable_plan() = plan_;
      request.set_resume_from(checkpoint);
      for (int n = 0; n < ranks_; ++n) {
        v1::Neighbour* neighbour = request.add_ranks();
        neighbour->set_rank(n);
        neighbour->set_worker(lease_->workers()[n].id);
        neighbour->set_incarnation(lease_->workers()[n].incarnation);
        neighbour->set_address(lease_->workers()[n].address);
      }
      lease_->client(r).Load(lease_->NewCall(), std::move(request), loads.Take(r));
    }
    return loads.Wait().status();
  }

  // One pass over the pipeline. Returns the next token.
  absl::StatusOr<int64_t> Next(const v1::GenerateRequest& how, const std::vector<int64_t>& tokens, uint64_t index) {
    const size_t length = std::min<size_t>(tokens.size(), spec_.data().seq_len());
    Gather<v1::RunReply> runs(ranks_);
    for (int r = 0; r < ranks_; ++r) {
      v1::RunRequest request;
      request.set_job(lease_->name());
      request.set_plan_epoch(epoch_);
      request.set_incarnation(lease_->workers()[r].incarnation);
      request.set_mode(v1::PASS_GENERATE);
      request.set_first_pass(index + 1);
      request.mutable_tokens()->Assign(tokens.end() - static_cast<std::ptrdiff_t>(length), tokens.end());
      request.set_temperature(how.temperature());
      request.set_top_k(how.top_k());
      request.set_seed(how.seed() + index);
      lease_->client(r).Run(lease_->NewCall(), std::move(request), runs.Take(r));
    }
    PENSTOCK_ASSIGN_OR_RETURN(const std::vector<v1::RunReply> replies, runs.Wait());
    return replies[plan_.stages(plan_.stages_size() - 1).rank()].next_token();
  }

 private:
  const std::shared_ptr<WorkerLease> lease_;
  const v1::JobSpec spec_;
  const v1::Plan plan_;
  const uint64_t epoch_;
  const int ranks_;
};

absl::StatusOr<std::vector<int64_t>> Prompt(const v1::JobSpec& spec, const v1::GenerateRequest& request,
                                            const Tokenizer& tokenizer) {
  if (spec.data().seq_len() == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("job ", spec.name(), " is not a language model: its data are not tokens"));
  }
  if (request.prompt_tokens().empty()) return EncodePrompt(tokenizer, request.prompt());
  return std::vector<int64_t>(request.prompt_tokens().begin(), request.prompt_tokens().end());
}

}  // namespace

absl::Status Generate(Core* core, const v1::GenerateRequest& request,
                      const std::function<bool(const v1::GenerateReply&)>& emit) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::string checkpoint, FindCheckpoint(core, request));
  PENSTOCK_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(checkpoint));
  v1::JobSpec spec = manifest.spec;
  PENSTOCK_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::OfJob(spec.data()));
  // The workers need no data for this: they may have changed since, or be gone.
  spec.mutable_data()->mutable_train()->clear_path();
  spec.mutable_data()->clear_eval();
  PENSTOCK_ASSIGN_OR_RETURN(std::vector<int64_t> tokens, Prompt(spec, request, *tokenizer));
  TextStream text(tokenizer.get(), tokens);
  PENSTOCK_ASSIGN_OR_RETURN(const v1::Plan wanted, MakePlan(spec));
  PENSTOCK_ASSIGN_OR_RETURN(const std::shared_ptr<WorkerLease> lease, core->Lease(wanted.train_size(), "generate"));
  PENSTOCK_ASSIGN_OR_RETURN(v1::Plan plan, PlanFor(&spec, static_cast<int>(lease->workers().size())));
  Generation generation(lease, spec, std::move(plan), core->NewLeaseEpoch());
  absl::Status status = generation.Load(checkpoint);
  for (uint64_t i = 0; status.ok() && i < request.tokens(); ++i) {
    const absl::StatusOr<int64_t> token = generation.Next(request, tokens, i);
    status = token.status();
    if (!status.ok()) break;
    tokens.push_back(*token);
    v1::GenerateReply reply;
    reply.set_token(*token);
    reply.set_text(text.Push(*token));
    if (i + 1 == request.tokens()) reply.mutable_text()->append(text.Finish());
    if (!emit(reply)) return absl::CancelledError("the caller is gone");
  }
  // Why a worker is gone says more than that its calls were cancelled.
  const absl::Status lost = lease->status();
  return lost.ok() ? status : lost;
}

}  // namespace penstock

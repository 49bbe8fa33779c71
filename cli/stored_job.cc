#include "cli/stored_job.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/client.h"
#include "common/status_macros.h"
#include "coordinator/jobs/job_store.h"

namespace penstock {
namespace {

absl::StatusOr<v1::GetReply> FindInStore(const std::string& job, const std::string& state_dir) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::unique_ptr<JobStore> store, JobStore::OpenToRead(state_dir));
  PENSTOCK_ASSIGN_OR_RETURN(const std::string id, store->Resolve(job));
  PENSTOCK_ASSIGN_OR_RETURN(StoredJob stored, store->Get(id));
  v1::GetReply reply;
  *reply.mutable_status() = std::move(stored.status);
  *reply.mutable_spec() = std::move(stored.spec);
  *reply.mutable_plan() = std::move(stored.plan);
  return reply;
}

}  // namespace

absl::StatusOr<v1::GetReply> FindJob(const std::string& job, const std::string& address, const std::string& state_dir) {
  absl::StatusOr<v1::GetReply> asked = Client(address).Get(job);
  if (asked.ok() || !(absl::IsUnavailable(asked.status()) || absl::IsNotFound(asked.status()))) return asked;
  absl::StatusOr<v1::GetReply> found = FindInStore(job, state_dir);
  if (found.ok() || !absl::IsNotFound(found.status())) return found;
  return absl::NotFoundError(
      absl::StrCat(asked.status().message(), "; and in ", state_dir, ": ", found.status().message()));
}

}  // namespace penstock

#include "coordinator/active_job.h"

#include <utility>

#include "common/data/identity.h"
#include "common/logging.h"

namespace penstock {

ActiveJob::ActiveJob(StoredJob job, const std::string& dir, const std::vector<std::string>& parameters,
                     JobCourse course)
    : stored(std::move(job)),
      checkpoint_dir(dir),
      machine(std::move(course)),
      barrier(stored.plan.train_size(), parameters, stored.spec.train().grad_clip()),
      progress(stored.spec, stored.plan),
      status(stored.status),
      saved_state(status.state()),
      saved_reason(status.reason()),
      calls(stored.plan.train_size()),
      saves(stored.plan.train_size()) {
  progress.Fill(0, &status);
}

absl::Status ActiveJob::CheckData(const v1::DataIdentity& now) const {
  const absl::StatusOr<std::string> note = CompareData({resumed.section, resumed.identity}, {stored.spec.data(), now});
  if (note.ok() && !note->empty()) LOG(WARNING) << "job " << stored.id << ": " << *note;
  return note.status();
}

}  // namespace penstock

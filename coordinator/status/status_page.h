// The status pages as HTML that stands alone: no script, no other file; readable on a phone, in the dark and in a text
// browser. Pure. All that comes from outside is escaped.
#ifndef PENSTOCK_COORDINATOR_STATUS_STATUS_PAGE_H_
#define PENSTOCK_COORDINATOR_STATUS_STATUS_PAGE_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/coordinator.pb.h"

namespace penstock {

// `text` as HTML text or attribute value.
std::string EscapeHtml(absl::string_view text);

// Cluster, workers, the queue with reasons, jobs with their stages. Reloads itself every few seconds.
std::string ClusterPage(const v1::ClusterStatus& cluster, absl::Time now);

// One job: state, figures, stages, failure with its root cause first, checkpoints. Reloads itself until it has ended.
std::string JobPage(const v1::GetReply& job, absl::Time now);

// A page that says why there is nothing else to see.
std::string ErrorPage(int http_status, absl::string_view what);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_STATUS_STATUS_PAGE_H_

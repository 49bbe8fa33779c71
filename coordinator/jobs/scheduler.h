// The queue's decision: which waiting job starts on which workers. Pure.
// Source: docs/architecture.md, "The queue".
#ifndef PENSTOCK_COORDINATOR_JOBS_SCHEDULER_H_
#define PENSTOCK_COORDINATOR_JOBS_SCHEDULER_H_

#include <string>
#include <vector>

namespace penstock {

struct WaitingJob {
  std::string job;
  int ranks = 1;
};

struct WorkerOffer {
  std::string id;
  bool idle = false;       // registered and without a job
  bool coming = false;     // expected, but not registered (yet, or again); its arithmetic is unknown
  std::string arithmetic;  // self-test hash and numeric fingerprint: equal for all workers of a job
  std::string job;         // the one that it works for; empty: none
};

struct JobPlacement {
  std::string job;
  std::vector<std::string> workers;  // by rank; empty: the job waits
  std::string reason;                // why it waits
};

// Decides for every waiting job, in order of submission.
// Rules: first come, first served. A job starts when enough idle workers with the same arithmetic are there; rank r
// takes the r-th of them. A job that waits only because workers are busy or still starting holds back those behind
// it, since otherwise small jobs could starve it; a job that needs more workers than this cluster has holds back
// nobody.
// Args:    jobs: those that wait, oldest first. workers: in the order of cluster.yaml.
// Returns: one placement a job, in the same order.
std::vector<JobPlacement> PlaceJobs(const std::vector<WaitingJob>& jobs, const std::vector<WorkerOffer>& workers);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_JOBS_SCHEDULER_H_

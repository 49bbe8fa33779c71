// The queue's decision: which waiting job starts on which workers. Pure.
// Source: docs/architecture.md, "The queue".
#ifndef PENSTOCK_COORDINATOR_JOBS_SCHEDULER_H_
#define PENSTOCK_COORDINATOR_JOBS_SCHEDULER_H_

#include <cstdint>
#include <string>
#include <vector>

namespace penstock {

struct WaitingJob {
  std::string job;
  int ranks = 1;
  std::vector<uint64_t> rank_bytes = {};  // what each rank needs; those that are not named need nothing
};

struct WorkerOffer {
  std::string id;
  bool idle = false;          // registered and without a job
  bool coming = false;        // expected, but not registered (yet, or again); its arithmetic is unknown
  std::string arithmetic;     // self-test hash and numeric fingerprint: equal for all workers of a job
  std::string job;            // the one that it works for; empty: none
  uint64_t memory_bytes = 0;  // limit; 0: none
};

struct JobPlacement {
  std::string job;
  std::vector<std::string> workers;  // by rank; empty: the job waits
  std::string reason;                // why it waits
};

// Decides for every waiting job, in order of submission.
// Rules: first come, first served. A job starts when enough idle workers with the same arithmetic are there; rank r
// takes the r-th of them, or, where one of them is too small for its rank, each rank the smallest that is large enough.
// A job that waits only because workers are busy or still starting holds back those behind it, since otherwise small
// jobs could starve it; a job that needs more workers than this cluster has, or larger ones than are idle, holds back
// nobody.
// Args:    jobs: those that wait, oldest first. workers: in the order of cluster.yaml.
// Returns: one placement a job, in the same order.
// O(jobs * workers^2) time in the worst case.
std::vector<JobPlacement> PlaceJobs(const std::vector<WaitingJob>& jobs, const std::vector<WorkerOffer>& workers);

// The largest limits, one a rank, in the order of the workers they belong to: what a plan is made for.
// Args:    limits: of the workers there are, 0: none. Fewer than ranks: the others have no limit.
std::vector<uint64_t> LargestLimits(std::vector<uint64_t> limits, int ranks);

// Limits in the order in which ranks would be matched with them: the largest for the rank that needs most. What is
// checked against these fits on some placement, or on none.
// Args:    limits: of the workers there are, 0: none. Fewer than ranks: the others have no limit.
// Returns: one a rank.
std::vector<uint64_t> MatchLimits(const std::vector<uint64_t>& rank_bytes, std::vector<uint64_t> limits);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_JOBS_SCHEDULER_H_

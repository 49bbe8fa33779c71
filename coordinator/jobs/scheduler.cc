#include "coordinator/jobs/scheduler.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace penstock {
namespace {

struct Supply {
  int total = 0;   // workers that could ever serve together
  int all = 0;     // whatever their arithmetic
  int idle = 0;    // idle ones, whatever their arithmetic
  int groups = 0;  // different arithmetics
};

Supply CountSupply(const std::vector<WorkerOffer>& workers) {
  Supply supply;
  std::set<std::string> groups;
  int coming = 0;
  for (const WorkerOffer& worker : workers) {
    ++supply.all;
    supply.idle += worker.idle ? 1 : 0;
    coming += worker.coming ? 1 : 0;
    if (!worker.coming) groups.insert(worker.arithmetic);
  }
  supply.groups = static_cast<int>(groups.size());
  int largest = 0;
  for (const std::string& group : groups) {
    largest = std::max(
        largest, static_cast<int>(std::count_if(workers.begin(), workers.end(), [&group](const WorkerOffer& worker) {
          return !worker.coming && worker.arithmetic == group;
        })));
  }
  supply.total = largest + coming;
  return supply;
}

// The first `count` idle workers that share their arithmetic; empty where there are not enough.
std::vector<size_t> PickIdle(const std::vector<WorkerOffer>& workers, int count) {
  for (size_t first = 0; first < workers.size(); ++first) {
    if (!workers[first].idle) continue;
    std::vector<size_t> picked;
    for (size_t i = first; i < workers.size() && static_cast<int>(picked.size()) < count; ++i) {
      if (workers[i].idle && workers[i].arithmetic == workers[first].arithmetic) picked.push_back(i);
    }
    if (static_cast<int>(picked.size()) == count) return picked;
  }
  return {};
}

// "; jobs a-1, b-1 hold the others", or "" where no job holds any.
std::string Holders(const std::vector<WorkerOffer>& workers) {
  std::vector<std::string> jobs;
  for (const WorkerOffer& worker : workers) {
    if (!worker.job.empty() && std::find(jobs.begin(), jobs.end(), worker.job) == jobs.end())
      jobs.push_back(worker.job);
  }
  if (jobs.empty()) return "";
  return absl::StrCat("; ", jobs.size() == 1 ? "job " : "jobs ", absl::StrJoin(jobs, ", "),
                      jobs.size() == 1 ? " holds" : " hold", " the others");
}

std::string Workers(int count) { return absl::StrCat(count, count == 1 ? " worker" : " workers"); }

}  // namespace

std::vector<JobPlacement> PlaceJobs(const std::vector<WaitingJob>& jobs, const std::vector<WorkerOffer>& workers) {
  std::vector<WorkerOffer> left = workers;
  std::vector<JobPlacement> placements;
  std::string holder;  // the job that the later ones wait behind
  for (const WaitingJob& job : jobs) {
    JobPlacement& placement = placements.emplace_back();
    placement.job = job.job;
    const Supply supply = CountSupply(left);
    if (supply.total < job.ranks) {
      placement.reason =
          supply.all < job.ranks
              ? absl::StrCat("needs ", Workers(job.ranks), "; the cluster has ", supply.all)
              : absl::StrCat("needs ", Workers(job.ranks), " with the same numeric fingerprint; the cluster's ",
                             supply.all, " have ", supply.groups, " different ones");
      continue;
    }
    if (!holder.empty()) {
      placement.reason = absl::StrCat("waits behind job ", holder);
      continue;
    }
    const std::vector<size_t> picked = PickIdle(left, job.ranks);
    if (picked.empty()) {
      placement.reason =
          absl::StrCat("waits for ", job.ranks, " idle ", job.ranks == 1 ? "worker" : "workers", "; ", supply.idle,
                       " of ", supply.all, supply.idle == 1 ? " is" : " are", " idle", Holders(workers));
      holder = job.job;
      continue;
    }
    for (const size_t index : picked) {
      placement.workers.push_back(left[index].id);
      left[index].idle = false;
    }
  }
  return placements;
}

}  // namespace penstock

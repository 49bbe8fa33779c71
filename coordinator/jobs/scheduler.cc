#include "coordinator/jobs/scheduler.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
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

uint64_t BytesOf(const WaitingJob& job, size_t rank) { return rank < job.rank_bytes.size() ? job.rank_bytes[rank] : 0; }

bool Fits(const WaitingJob& job, size_t rank, const WorkerOffer& worker) {
  return worker.memory_bytes == 0 || BytesOf(job, rank) <= worker.memory_bytes;
}

// The idle workers that share the arithmetic of workers[first], from it on.
std::vector<size_t> IdleGroup(const std::vector<WorkerOffer>& workers, size_t first) {
  std::vector<size_t> group;
  for (size_t i = first; i < workers.size(); ++i) {
    if (workers[i].idle && workers[i].arithmetic == workers[first].arithmetic) group.push_back(i);
  }
  return group;
}

// Whether limit a is smaller than b. 0, no limit, is the largest: minus one turns it into that.
bool SmallerLimit(uint64_t a, uint64_t b) { return a - 1 < b - 1; }

std::string MiB(uint64_t bytes) { return absl::StrFormat("%.1f MiB", static_cast<double>(bytes) / (1 << 20)); }

// Workers of the group by rank: the first ones in order where they fit, else for each rank, the one that needs most
// first, the smallest that is large enough. Whatever fits one rank fits every rank that needs less, so that no other
// choice could place more of them. Empty where they are too small; *reason says which.
std::vector<size_t> Match(const WaitingJob& job, const std::vector<WorkerOffer>& workers, std::vector<size_t> group,
                          std::string* reason) {
  const size_t ranks = static_cast<size_t>(job.ranks);
  std::vector<size_t> order(ranks);
  std::iota(order.begin(), order.end(), 0);
  const auto fits_in_order = [&](size_t rank) { return Fits(job, rank, workers[group[rank]]); };
  if (std::all_of(order.begin(), order.end(), fits_in_order)) {
    group.resize(ranks);
    return group;
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return BytesOf(job, a) > BytesOf(job, b); });
  std::stable_sort(group.begin(), group.end(), [&workers](size_t a, size_t b) {
    return SmallerLimit(workers[a].memory_bytes, workers[b].memory_bytes);
  });
  std::vector<size_t> matched(ranks);
  for (const size_t rank : order) {
    const auto found =
        std::find_if(group.begin(), group.end(), [&](size_t worker) { return Fits(job, rank, workers[worker]); });
    if (found == group.end()) {
      const WorkerOffer& largest = workers[group.back()];
      *reason = absl::StrCat("waits for a larger worker: rank ", rank, " needs ", MiB(BytesOf(job, rank)), ", and ",
                             largest.id, ", the largest that is idle and left for it, has ", MiB(largest.memory_bytes));
      return {};
    }
    matched[rank] = *found;
    group.erase(found);
  }
  return matched;
}

// The idle workers that the job is to run on, by rank; empty where there are none. *reason is set where there are
// enough, but not large ones.
std::vector<size_t> PickIdle(const WaitingJob& job, const std::vector<WorkerOffer>& workers, std::string* reason) {
  std::set<std::string> seen;
  for (size_t first = 0; first < workers.size(); ++first) {
    if (!workers[first].idle || !seen.insert(workers[first].arithmetic).second) continue;
    const std::vector<size_t> group = IdleGroup(workers, first);
    if (group.size() < static_cast<size_t>(job.ranks)) continue;
    const std::vector<size_t> matched = Match(job, workers, group, reason);
    if (!matched.empty()) return matched;
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
              ? absl::StrCat("needs ", Workers(job.ranks), "; the cluster has ", supply.all, ": waits until ",
                             job.ranks - supply.all, job.ranks - supply.all == 1 ? " more joins" : " more join",
                             " (fewer pipeline.stages need fewer)")
              : absl::StrCat("needs ", Workers(job.ranks), " with the same numeric fingerprint; the cluster's ",
                             supply.all, " have ", supply.groups, " different ones");
      continue;
    }
    if (!holder.empty()) {
      placement.reason = absl::StrCat("waits behind job ", holder);
      continue;
    }
    const std::vector<size_t> picked = PickIdle(job, left, &placement.reason);
    // One that waits for larger workers holds back nobody: others may fit those that it left.
    if (picked.empty() && !placement.reason.empty()) continue;
    placement.reason.clear();
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

std::vector<uint64_t> LargestLimits(std::vector<uint64_t> limits, int ranks) {
  limits.resize(std::max(limits.size(), static_cast<size_t>(ranks)), 0);
  std::vector<size_t> order(limits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return SmallerLimit(limits[b], limits[a]); });
  order.resize(ranks);
  std::sort(order.begin(), order.end());
  std::vector<uint64_t> largest;
  for (const size_t worker : order) largest.push_back(limits[worker]);
  return largest;
}

std::vector<uint64_t> MatchLimits(const std::vector<uint64_t>& rank_bytes, std::vector<uint64_t> limits) {
  limits.resize(std::max(limits.size(), rank_bytes.size()), 0);
  std::sort(limits.begin(), limits.end(), [](uint64_t a, uint64_t b) { return SmallerLimit(b, a); });
  std::vector<size_t> order(rank_bytes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return rank_bytes[a] > rank_bytes[b]; });
  std::vector<uint64_t> matched(rank_bytes.size());
  for (size_t i = 0; i < order.size(); ++i) matched[order[i]] = limits[i];
  return matched;
}

}  // namespace penstock

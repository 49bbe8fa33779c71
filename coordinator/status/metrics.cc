#include "coordinator/status/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <functional>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace penstock {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

ClientMetric Sample(MetricType type, Labels labels, double value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  return metric;
}

// One family with a sample for each item.
template <typename Items>
void Add(std::vector<MetricFamily>* families, const Items& items, const char* name, const char* help, MetricType type,
         const std::function<Labels(const typename Items::value_type&)>& labels,
         const std::function<double(const typename Items::value_type&)>& value) {
  MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = type;
  for (const auto& item : items) family.metric.push_back(Sample(type, labels(item), value(item)));
  if (!family.metric.empty()) families->push_back(std::move(family));
}

using Counts = std::map<std::string, double>;

void AddCounts(std::vector<MetricFamily>* families, const v1::ClusterStatus& cluster) {
  Counts workers = {{"starting", 0}, {"idle", 0}, {"busy", 0}, {"lost", 0}};
  for (const v1::WorkerStatus& worker : cluster.workers()) ++workers[worker.state()];
  Counts jobs;
  for (int state = v1::PENDING; state <= v1::STOPPED; ++state) {
    jobs[v1::JobState_Name(static_cast<v1::JobState>(state))] = 0;
  }
  for (const v1::JobStatus& job : cluster.jobs()) ++jobs[v1::JobState_Name(job.state())];
  const auto labels = [](const Counts::value_type& item) { return Labels{{"state", item.first}}; };
  const auto value = [](const Counts::value_type& item) { return item.second; };
  Add(
      families, Counts{{cluster.version(), 1}}, "penstock_build_info", "Always 1; the version is a label.",
      MetricType::Gauge,
      [](const Counts::value_type& item) {
        return Labels{{"version", item.first}};
      },
      value);
  Add(
      families, Counts{{"", static_cast<double>(cluster.started_unix_ms()) / 1000}}, "penstock_start_time_seconds",
      "When the coordinator started, seconds since 1970.", MetricType::Gauge,
      [](const Counts::value_type&) { return Labels{}; }, value);
  Add(families, workers, "penstock_workers", "Workers by state.", MetricType::Gauge, labels, value);
  Add(families, jobs, "penstock_jobs", "Jobs by state: those that have not ended, and the latest that have.",
      MetricType::Gauge, labels, value);
}

void AddWorkers(std::vector<MetricFamily>* families, const v1::ClusterStatus& cluster) {
  using Worker = v1::WorkerStatus;
  const auto add = [&](const char* name, const char* help, const std::function<double(const Worker&)>& value) {
    Add(
        families, cluster.workers(), name, help, MetricType::Gauge,
        [](const Worker& worker) {
          return Labels{{"worker", worker.id()}, {"device", worker.device()}};
        },
        value);
  };
  add("penstock_worker_resident_memory_bytes", "Resident memory of the worker's process.",
      [](const Worker& worker) { return static_cast<double>(worker.resident_bytes()); });
  add("penstock_worker_memory_limit_bytes", "Memory that the worker may use for a job; 0: no limit.",
      [](const Worker& worker) { return static_cast<double>(worker.memory_bytes()); });
  add("penstock_worker_heartbeat_age_seconds", "Time since the worker's latest heartbeat.",
      [](const Worker& worker) { return worker.heartbeat_age_seconds(); });
  add("penstock_worker_incarnation", "How often a worker of this id has started.",
      [](const Worker& worker) { return static_cast<double>(worker.incarnation()); });
}

void AddJobs(std::vector<MetricFamily>* families, const v1::ClusterStatus& cluster) {
  using Job = v1::JobStatus;
  const auto add = [&](const char* name, const char* help, const std::function<double(const Job&)>& value) {
    Add(
        families, cluster.jobs(), name, help, MetricType::Gauge,
        [](const Job& job) {
          return Labels{{"job", job.job()}, {"name", job.name()}};
        },
        value);
  };
  add("penstock_job_completed_steps", "Completed updates.",
      [](const Job& job) { return static_cast<double>(job.step()); });
  add("penstock_job_requested_steps", "Updates that the job is to make.",
      [](const Job& job) { return static_cast<double>(job.steps()); });
  add("penstock_job_loss", "Training loss of the latest step.", [](const Job& job) { return job.loss(); });
  add("penstock_job_learning_rate", "Learning rate of the latest step.", [](const Job& job) { return job.lr(); });
  add("penstock_job_gradient_norm", "Global gradient norm of the latest step.",
      [](const Job& job) { return job.grad_norm(); });
  add("penstock_job_loss_scale", "What the loss of the next step is multiplied by; 0: nothing (precision is not fp16).",
      [](const Job& job) { return job.loss_scale(); });
  add("penstock_job_skipped_steps", "Steps without an update, since their gradients overflowed (precision fp16).",
      [](const Job& job) { return static_cast<double>(job.skipped_steps()); });
  add("penstock_job_tokens_per_second", "Tokens (samples, where the input is not tokens) trained on per second.",
      [](const Job& job) { return job.tokens_per_second(); });
  add("penstock_job_bubble_ratio", "Idle share of the latest step, mean over ranks.",
      [](const Job& job) { return job.bubble(); });
  add("penstock_job_step_duration_seconds", "Median duration of the latest steps.",
      [](const Job& job) { return job.step_seconds(); });
}

struct StageOfJob {
  const v1::JobStatus* job;
  const v1::StageStatus* stage;
};

void AddStages(std::vector<MetricFamily>* families, const v1::ClusterStatus& cluster) {
  // What a rank's stages share is counted once, with the first of them: sums over stages stay true.
  std::vector<StageOfJob> stages, first_of_rank;
  for (const v1::JobStatus& job : cluster.jobs()) {
    std::set<uint32_t> ranks;
    for (const v1::StageStatus& stage : job.stages()) {
      stages.push_back({&job, &stage});
      if (ranks.insert(stage.rank()).second) first_of_rank.push_back({&job, &stage});
    }
  }
  const auto add_to = [&](const std::vector<StageOfJob>& items, const char* name, const char* help, MetricType type,
                          const std::function<double(const v1::StageStatus&)>& value) {
    Add(
        families, items, name, help, type,
        [](const StageOfJob& item) {
          return Labels{{"job", item.job->job()},
                        {"stage", absl::StrCat(item.stage->stage())},
                        {"rank", absl::StrCat(item.stage->rank())},
                        {"worker", item.stage->worker()}};
        },
        [&value](const StageOfJob& item) { return value(*item.stage); });
  };
  const auto add = [&](const char* name, const char* help, MetricType type,
                       const std::function<double(const v1::StageStatus&)>& value) {
    add_to(first_of_rank, name, help, type, value);
  };
  using Stage = v1::StageStatus;
  add_to(stages, "penstock_stage_parameter_bytes", "Parameters of the stage.", MetricType::Gauge,
         [](const Stage& stage) { return static_cast<double>(stage.parameter_bytes()); });
  add("penstock_stage_peak_allocated_bytes", "Most memory allocated at once on the stage's device.", MetricType::Gauge,
      [](const Stage& stage) { return static_cast<double>(stage.peak_allocated_bytes()); });
  add("penstock_stage_busy_ratio", "Share of the latest step spent computing.", MetricType::Gauge,
      [](const Stage& stage) { return stage.busy(); });
  add("penstock_stage_frames_sent_total", "Frames sent to neighbours.", MetricType::Counter,
      [](const Stage& stage) { return static_cast<double>(stage.frames_sent()); });
  add("penstock_stage_frames_received_total", "Frames received from neighbours.", MetricType::Counter,
      [](const Stage& stage) { return static_cast<double>(stage.frames_received()); });
  add("penstock_stage_sent_bytes_total", "Bytes of tensors sent to neighbours.", MetricType::Counter,
      [](const Stage& stage) { return static_cast<double>(stage.bytes_sent()); });
  add("penstock_stage_shared_sent_bytes_total", "Of these, bytes that went through shared memory.", MetricType::Counter,
      [](const Stage& stage) { return static_cast<double>(stage.shared_bytes_sent()); });
  add("penstock_stage_received_bytes_total", "Bytes of tensors received from neighbours.", MetricType::Counter,
      [](const Stage& stage) { return static_cast<double>(stage.bytes_received()); });
}

}  // namespace

std::string MetricsText(const v1::ClusterStatus& cluster) {
  std::vector<MetricFamily> families;
  AddCounts(&families, cluster);
  AddWorkers(&families, cluster);
  AddJobs(&families, cluster);
  AddStages(&families, cluster);
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace penstock

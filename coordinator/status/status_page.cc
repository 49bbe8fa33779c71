#include "coordinator/status/status_page.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/status/html.h"

namespace penstock {
namespace {

constexpr int kRefreshSeconds = 3;

std::string JobLink(const v1::JobStatus& job) {
  return absl::StrCat("<a href=\"/jobs/", EscapeHtml(job.job()), "\">", EscapeHtml(job.job()), "</a>");
}

std::string Why(absl::string_view reason) {
  return absl::StrCat("<span class=\"why\">", EscapeHtml(reason), "</span>");
}

std::string WorkerState(const v1::WorkerStatus& worker) {
  if (worker.state() == "lost") return WordHtml("lost", "bad");
  return WordHtml(worker.state(), worker.state() == "busy" ? "busy" : worker.state() == "idle" ? "good" : "soft");
}

std::string WorkersTable(const v1::ClusterStatus& cluster) {
  HtmlTable table;
  table.columns = {{"Worker"},          {"State"}, {"Device"},    {"Memory", true}, {"Limit", true},
                   {"Heartbeat", true}, {"Host"},  {"Pid", true}, {"Job"}};
  bool reasons = false;
  for (const v1::WorkerStatus& worker : cluster.workers()) reasons |= !worker.reason().empty();
  if (reasons) table.columns.push_back({"Reason"});
  for (const v1::WorkerStatus& worker : cluster.workers()) {
    std::vector<std::string>& row = table.rows.emplace_back();
    row = {EscapeHtml(worker.id()),
           WorkerState(worker),
           EscapeHtml(worker.device()),
           worker.resident_bytes() == 0 ? "" : BytesText(worker.resident_bytes()),
           worker.memory_bytes() == 0 ? "none" : BytesText(worker.memory_bytes()),
           DurationText(worker.heartbeat_age_seconds()),
           EscapeHtml(worker.host()),
           worker.pid() == 0 ? "" : absl::StrCat(worker.pid()),
           EscapeHtml(worker.job())};
    if (reasons) row.push_back(Why(worker.reason()));
  }
  return ToHtml(table);
}

std::string StagesTable(const v1::JobStatus& job) {
  HtmlTable table;
  table.columns = {{"Stage", true},
                   {"Rank", true},
                   {"Worker"},
                   {"Layers"},
                   {"Parameters", true},
                   {"Busy", true},
                   {"Peak memory", true},
                   {"Frames sent", true},
                   {"Sent", true},
                   {"Frames received", true},
                   {"Received", true}};
  std::map<uint32_t, uint32_t> first_stage;  // by rank: the line that has what the rank's stages share
  for (const v1::StageStatus& stage : job.stages()) first_stage.emplace(stage.rank(), stage.stage());
  for (const v1::StageStatus& stage : job.stages()) {
    const bool first = first_stage[stage.rank()] == stage.stage();
    const auto shared = [first](const std::string& text) { return first ? text : std::string(); };
    table.rows.push_back({absl::StrCat(stage.stage()), absl::StrCat(stage.rank()), EscapeHtml(stage.worker()),
                          EscapeHtml(stage.layers()),
                          absl::StrCat(CountText(stage.parameters()), " (", BytesText(stage.parameter_bytes()), ")"),
                          shared(ShareText(stage.busy())), shared(BytesText(stage.peak_allocated_bytes())),
                          shared(absl::StrCat(stage.frames_sent())), shared(BytesText(stage.bytes_sent())),
                          shared(absl::StrCat(stage.frames_received())), shared(BytesText(stage.bytes_received()))});
  }
  return ToHtml(table);
}

// Whether it has done a step since it was started: only then there are a loss, a rate and the like.
bool HasFigures(const v1::JobStatus& job) { return job.step() > job.resumed_step(); }

// "step 12 of 400, loss 2.31, …": what is known so far.
std::string Figures(const v1::JobStatus& job) {
  std::string text = absl::StrCat("step ", job.step(), " of ", job.steps());
  if (HasFigures(job)) {
    absl::StrAppend(&text, ", loss ", NumberText(job.loss(), 5), ", learning rate ", NumberText(job.lr(), 3),
                    ", gradient norm ", NumberText(job.grad_norm(), 4), ", ", NumberText(job.tokens_per_second(), 4),
                    " ", job.unit().empty() ? "tokens" : job.unit(), "/s, step ", DurationText(job.step_seconds()),
                    ", bubble ", ShareText(job.bubble()));
    if (job.loss_scale() != 0) {
      absl::StrAppend(&text, ", loss scale ", NumberText(job.loss_scale(), 6), ", ", job.skipped_steps(),
                      " steps skipped");
    }
  }
  if (!HasEnded(job.state()) && job.eta_seconds() > 0) {
    absl::StrAppend(&text, ", about ", DurationText(job.eta_seconds()), " to go");
  }
  return EscapeHtml(text);
}

std::string Progress(const v1::JobStatus& job) {
  return absl::StrFormat("<progress max=\"%d\" value=\"%d\">%d / %d</progress>\n", std::max<uint64_t>(job.steps(), 1),
                         std::min(job.step(), job.steps()), job.step(), job.steps());
}

std::string JobSection(const v1::JobStatus& job) {
  std::string html = absl::StrCat("<h3>", JobLink(job), " ", StateHtml(job.state()), "</h3>\n");
  if (!job.reason().empty()) absl::StrAppend(&html, "<p>", EscapeHtml(job.reason()), "</p>\n");
  absl::StrAppend(&html, Progress(job), "<p>", Figures(job), "</p>\n");
  if (job.stages_size() > 0) absl::StrAppend(&html, StagesTable(job));
  return html;
}

std::string QueueTable(const std::vector<const v1::JobStatus*>& jobs) {
  HtmlTable table;
  table.columns = {{"Job"}, {"Submitted"}, {"Waits for"}};
  for (const v1::JobStatus* job : jobs) {
    table.rows.push_back({JobLink(*job), TimeText(job->submitted_unix_ms()), Why(job->reason())});
  }
  return ToHtml(table);
}

std::string EndedTable(const std::vector<const v1::JobStatus*>& jobs) {
  HtmlTable table;
  table.columns = {{"Job"}, {"State"}, {"Step", true}, {"Loss", true}, {"Ended"}, {"Reason"}};
  for (const v1::JobStatus* job : jobs) {
    table.rows.push_back({JobLink(*job), StateHtml(job->state()), absl::StrCat(job->step(), " / ", job->steps()),
                          HasFigures(*job) ? NumberText(job->loss(), 5) : "", TimeText(job->ended_unix_ms()),
                          Why(job->reason())});
  }
  return ToHtml(table);
}

// Enough to tell two apart by eye; the whole of it under the pointer.
std::string ShortHash(const std::string& sha256) {
  constexpr size_t kShown = 12;
  if (sha256.size() <= kShown) return EscapeHtml(sha256);
  return absl::StrCat("<span title=\"", EscapeHtml(sha256), "\">", EscapeHtml(sha256.substr(0, kShown)), "…</span>");
}

std::string CheckpointsTable(const v1::GetReply& job) {
  HtmlTable table;
  table.columns = {{"Step", true}, {"Size", true}, {"Written"}, {"SHA-256"}, {"Folder"}};
  for (const v1::CheckpointInfo& checkpoint : job.checkpoints()) {
    table.rows.push_back({absl::StrCat(checkpoint.step()), BytesText(checkpoint.bytes()),
                          TimeText(checkpoint.unix_ms()), ShortHash(checkpoint.sha256()),
                          absl::StrCat("<span class=\"why\">", EscapeHtml(checkpoint.path()), "</span>")});
  }
  return ToHtml(table);
}

std::string Footer(absl::Time now) {
  return absl::StrCat("<p class=\"soft\">", TimeText(absl::ToUnixMillis(now)),
                      " · as JSON: <a href=\"?format=json\">?format=json</a></p>\n");
}

}  // namespace

std::string ClusterPage(const v1::ClusterStatus& cluster, absl::Time now) {
  std::vector<const v1::JobStatus*> running, queued, ended;
  for (const v1::JobStatus& job : cluster.jobs()) {
    (HasEnded(job.state()) ? ended : job.state() == v1::PENDING ? queued : running).push_back(&job);
  }
  const double up = absl::ToDoubleSeconds(now - absl::FromUnixMillis(cluster.started_unix_ms()));
  std::string body =
      absl::StrCat("<h1>Penstock cluster ", EscapeHtml(cluster.name()), "</h1>\n<p class=\"soft\">version ",
                   EscapeHtml(cluster.version()), ", coordinator at ", EscapeHtml(cluster.address()), ", up for ",
                   AgeText(up), "</p>\n");
  absl::StrAppend(&body, "<h2>Jobs</h2>\n");
  if (cluster.jobs().empty()) {
    absl::StrAppend(&body, "<p class=\"soft\">None was submitted yet: <code>penstock submit -f job.yaml --addr ",
                    EscapeHtml(cluster.address()), "</code></p>\n");
  } else if (running.empty()) {
    absl::StrAppend(&body, "<p class=\"soft\">None is running.</p>\n");
  }
  for (const v1::JobStatus* job : running) absl::StrAppend(&body, JobSection(*job));
  if (!queued.empty()) absl::StrAppend(&body, "<h2>Queue</h2>\n", QueueTable(queued));
  absl::StrAppend(&body, "<h2>Workers</h2>\n",
                  cluster.workers_size() == 0 ? "<p class=\"soft\">None has registered.</p>\n" : WorkersTable(cluster));
  if (!ended.empty()) absl::StrAppend(&body, "<h2>Ended</h2>\n", EndedTable(ended));
  return HtmlPage(absl::StrCat("Penstock ", cluster.name()), kRefreshSeconds, absl::StrCat(body, Footer(now)));
}

std::string JobPage(const v1::GetReply& reply, absl::Time now) {
  const v1::JobStatus& job = reply.status();
  std::string body = absl::StrCat("<p><a href=\"/statusz\">Cluster</a></p>\n<h1>Job ", EscapeHtml(job.job()), " ",
                                  StateHtml(job.state()), "</h1>\n");
  // A failure's reason is the first line of why it failed.
  if (!job.reason().empty() && job.failure().empty()) {
    absl::StrAppend(&body, "<p>", EscapeHtml(job.reason()), "</p>\n");
  }
  absl::StrAppend(&body, Progress(job), "<p>", Figures(job), "</p>\n");
  if (!job.resumed_from().empty()) {
    absl::StrAppend(&body, "<p>Went on from step ", job.resumed_step(), ": ", EscapeHtml(job.resumed_from()), "</p>\n");
  }
  if (job.has_eval()) {
    absl::StrAppend(&body, "<p>Evaluation after step ", job.eval().step(), ": loss ", NumberText(job.eval().loss(), 5),
                    ", accuracy ", ShareText(job.eval().accuracy()), "</p>\n");
  }
  if (job.failure_size() > 0) {
    absl::StrAppend(&body, "<h2>Why it failed</h2>\n<pre>");
    for (const std::string& line : job.failure()) absl::StrAppend(&body, EscapeHtml(line), "\n");
    absl::StrAppend(&body, "</pre>\n");
    if (reply.checkpoints_size() > 0) {
      absl::StrAppend(&body, "<p>Submitted again with <code>--resume</code>, it goes on from step ",
                      reply.checkpoints(0).step(), ".</p>\n");
    }
  }
  if (job.stages_size() > 0) absl::StrAppend(&body, "<h2>Stages</h2>\n", StagesTable(job));
  if (reply.checkpoints_size() > 0) absl::StrAppend(&body, "<h2>Checkpoints</h2>\n", CheckpointsTable(reply));
  if (!job.sample().empty()) absl::StrAppend(&body, "<h2>Sample</h2>\n<pre>", EscapeHtml(job.sample()), "</pre>\n");
  absl::StrAppend(&body, "<p class=\"soft\">Submitted ", TimeText(job.submitted_unix_ms()),
                  job.ended_unix_ms() == 0 ? "" : ", ended ", TimeText(job.ended_unix_ms()),
                  ". Records: ", EscapeHtml(job.run_dir()), "</p>\n");
  return HtmlPage(absl::StrCat("Penstock job ", job.job()), HasEnded(job.state()) ? 0 : kRefreshSeconds,
                  absl::StrCat(body, Footer(now)));
}

std::string ErrorPage(int http_status, absl::string_view what) {
  return HtmlPage(absl::StrCat("Penstock: ", http_status), 0,
                  absl::StrCat("<h1>", http_status, "</h1>\n<p>", EscapeHtml(what),
                               "</p>\n<p><a href=\"/statusz\">Cluster</a></p>\n"));
}

}  // namespace penstock

#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/channel.h"
#include "common/diagnostic.h"
#include "common/status_macros.h"
#include "common/yaml.h"
#include "spec/cluster_spec.h"
#include "spec/file_kind.h"
#include "spec/job_sections.h"

namespace penstock {
namespace {

// Below this a heartbeat costs more than it tells.
constexpr absl::Duration kShortestHeartbeat = absl::Milliseconds(10);
// Workers of one host or cluster: more on loopback is a typo.
constexpr size_t kMaxWorkers = 1024;

// $XDG_STATE_HOME/penstock/NAME, or ~/.local/state/penstock/NAME. Without either, /var/tmp serves: it outlives a
// reboot.
std::string DefaultStateDir(const std::string& name) {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  const bool has_state = state != nullptr && state[0] == '/';
  const bool has_home = home != nullptr && home[0] == '/';
  const std::filesystem::path root = has_state  ? std::filesystem::path(state)
                                     : has_home ? std::filesystem::path(home) / ".local/state"
                                                : std::filesystem::path("/var/tmp");
  return (root / "penstock" / name).lexically_normal().string();
}

bool IsLocalHost(absl::string_view host) { return host == "localhost" || absl::StartsWith(host, "127."); }

// Names become parts of paths.
bool IsName(const std::string& name) {
  return !name.empty() && name.size() <= 100 && name.front() != '.' && name.front() != '-' &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
             std::string::npos;
}

void ReadAddress(YamlMapping* section, absl::string_view key, YamlErrors* errors, std::string* address) {
  const std::optional<std::string> text = section->Text(key);
  if (!text) return;
  const absl::Status loopback = CheckLoopback(*text);
  if (loopback.ok()) {
    *address = *text;
    return;
  }
  const std::string path = section->PathOf(key);
  errors->Add(*section->Find(key), path, absl::StrCat(path, ": ", loopback.message()));
}

void ReadCoordinator(YamlMapping section, const std::string& folder, YamlErrors* errors, ClusterSpec* spec) {
  section.Refuse("tls", "coordinator.tls: this version has no TLS: it listens on loopback addresses only");
  section.Refuse("auth", "coordinator.auth: this version has no tokens: it listens on loopback addresses only");
  ReadAddress(&section, "listen", errors, &spec->listen);
  ReadAddress(&section, "http", errors, &spec->http);
  if (const auto dir = section.Text("state_dir")) spec->state_dir = AbsolutePath(folder, *dir);
  section.Finish();
  if (spec->http == spec->listen && !absl::EndsWith(spec->http, ":0")) {
    const std::string key = section.Has("http") ? "http" : "listen";
    errors->Add(*section.Find(key), section.PathOf(key),
                absl::StrCat(section.PathOf(key), ": coordinator.listen and coordinator.http are both ", spec->http,
                             ": they need two ports"));
  }
}

void ReadLaunch(YamlMapping section, YamlErrors* errors, ClusterSpec* spec) {
  section.Refuse("ssh", "launch.ssh: this version starts workers of this host only");
  section.Refuse("slurm", "launch.slurm: this version starts workers of this host only");
  section.Require({"with"});
  const YamlNode* with = section.Find("with");
  if (with != nullptr && (with->text == "ssh" || with->text == "slurm")) {
    errors->Add(*with, "launch.with",
                absl::StrCat("launch.with: this version does not have '", with->text,
                             "': it has local, and none for workers that join by themselves"));
  } else if (section.Choice("with", {"local", "none"}) == "none") {
    spec->launch = LaunchWith::kNone;
  }
  section.Finish();
}

// every < lost_after: a worker that is on time must not be taken for lost. The first rung of the ladder of timeouts.
void ReadHeartbeat(YamlMapping section, YamlErrors* errors, ClusterSpec* spec) {
  if (const auto every = section.Duration("every")) spec->heartbeat_every = *every;
  if (const auto lost = section.Duration("lost_after")) spec->lost_after = *lost;
  section.Finish();
  if (spec->heartbeat_every < kShortestHeartbeat) {
    errors->Add(*section.Find("every"), "heartbeat.every",
                absl::StrCat("heartbeat.every is ", absl::FormatDuration(spec->heartbeat_every),
                             ": it must be at least ", absl::FormatDuration(kShortestHeartbeat)));
  } else if (errors->Sound("heartbeat") && spec->lost_after < 2 * spec->heartbeat_every) {
    const YamlNode* node = section.Has("lost_after") ? section.Find("lost_after") : section.Find("every");
    errors->Add(
        *node, "heartbeat.lost_after",
        absl::StrCat("heartbeat.lost_after is ", absl::FormatDuration(spec->lost_after),
                     ": it must be at least twice heartbeat.every, ", absl::FormatDuration(spec->heartbeat_every)));
  }
}

// One entry of `workers`: a host and its devices, a worker for each.
void ReadWorker(YamlMapping entry, YamlErrors* errors, std::map<std::string, int>* devices_of_host, ClusterSpec* spec) {
  entry.Require({"host", "devices"});
  const std::string host = entry.Text("host").value_or("localhost");
  if (!IsLocalHost(host)) {
    errors->Add(*entry.Find("host"), entry.PathOf("host"),
                absl::StrCat(entry.PathOf("host"), ": '", host, "' is not this host: this version launches local ",
                             "workers only (localhost or 127.x)"));
  }
  const uint64_t memory = entry.Size("memory").value_or(0);
  const std::vector<YamlNode>* devices = entry.Sequence("devices");
  if (devices != nullptr && devices->empty()) {
    errors->Add(*entry.Find("devices"), entry.PathOf("devices"),
                absl::StrCat(entry.PathOf("devices"), " is an empty list"));
  }
  for (size_t i = 0; devices != nullptr && i < devices->size(); ++i) {
    const std::string path = absl::StrCat(entry.PathOf("devices"), "[", i, "]");
    const std::optional<std::string> device = ToText((*devices)[i], path, errors);
    if (device && !IsDevice(*device)) {
      errors->Add((*devices)[i], path, absl::StrCat(path, ": '", *device, "' is not a device: cpu, or cuda:N"));
    }
    // Over all entries of the host, so that every id is the only one of its kind.
    const int index = (*devices_of_host)[host]++;
    const std::string name = device.value_or("cpu");
    spec->workers.push_back({absl::StrCat(host, "/", name, ".", index), host, name, memory});
  }
  entry.Finish();
}

void ReadWorkers(YamlMapping* file, YamlErrors* errors, ClusterSpec* spec) {
  const std::vector<YamlNode>* nodes = file->Sequence("workers");
  if (nodes == nullptr) {
    if (spec->launch == LaunchWith::kLocal) file->Require({"workers"});
    return;
  }
  std::map<std::string, int> devices_of_host;
  for (size_t i = 0; i < nodes->size(); ++i) {
    ReadWorker(YamlMapping(&(*nodes)[i], absl::StrCat("workers[", i, "]"), errors), errors, &devices_of_host, spec);
  }
  if (nodes->empty() && spec->launch == LaunchWith::kLocal) {
    errors->Add(*file->Find("workers"), "workers", "workers is an empty list: there would be nothing to run a job");
  } else if (spec->workers.size() > kMaxWorkers) {
    errors->Add(*file->Find("workers"), "workers", absl::StrCat("more than ", kMaxWorkers, " workers"));
  }
}

std::string SizeText(uint64_t bytes) {
  for (const auto& [unit, shift] : {std::pair<const char*, int>{"GiB", 30}, {"MiB", 20}, {"KiB", 10}}) {
    if (bytes % (uint64_t{1} << shift) == 0) return absl::StrCat(bytes >> shift, unit);
  }
  return absl::StrCat(bytes);
}

}  // namespace

bool IsDevice(const std::string& device) {
  uint32_t index = 0;
  return device == "cpu" || (absl::StartsWith(device, "cuda:") && absl::SimpleAtoi(device.substr(5), &index) &&
                             absl::StrCat("cuda:", index) == device);
}

absl::StatusOr<ClusterSpec> ReadClusterFile(const std::string& path) {
  Diagnostics diagnostics;
  PENSTOCK_ASSIGN_OR_RETURN(const YamlNode root, ReadYamlFile(path, &diagnostics));
  if (!diagnostics.ok() && !root.IsMapping()) return diagnostics.ToStatus();
  YamlErrors errors(&diagnostics);
  if (IsOfAnotherKind(FileKind::kCluster, root, &errors)) return diagnostics.ToStatus();
  YamlMapping file(&root, "", &errors);
  ClusterSpec spec;
  const std::string folder = std::filesystem::absolute(path).parent_path().string();
  if (file.present()) {
    CheckFileHeader(&file, &errors);
    file.Refuse("network", "network: this version listens on loopback addresses only: leave it out");
    spec.name = file.Text("name").value_or(spec.name);
    if (!IsName(spec.name)) {
      errors.Add(*file.Find("name"), "name",
                 absl::StrCat("name is '", spec.name,
                              "': a name has at most 100 letters, digits, '-', '_' and '.', and begins with a letter, ",
                              "a digit or '_'"));
    }
    ReadCoordinator(file.Mapping("coordinator"), folder, &errors, &spec);
    ReadLaunch(file.Mapping("launch"), &errors, &spec);
    ReadHeartbeat(file.Mapping("heartbeat"), &errors, &spec);
    ReadWorkers(&file, &errors, &spec);
    file.Finish();
  }
  PENSTOCK_RETURN_IF_ERROR(diagnostics.ToStatus());
  if (spec.state_dir.empty()) spec.state_dir = DefaultStateDir(spec.name);
  return spec;
}

std::string ToYaml(const ClusterSpec& spec) {
  std::string text = absl::StrCat(
      "version: 1\nkind: cluster\nname: ", YamlText(spec.name), "\ncoordinator:\n  listen: ", YamlText(spec.listen),
      "\n  http: ", YamlText(spec.http), "\n  state_dir: ", YamlText(spec.state_dir),
      "\nlaunch: {with: ", spec.launch == LaunchWith::kNone ? "none" : "local",
      "}\nheartbeat: {every: ", absl::FormatDuration(spec.heartbeat_every),
      ", lost_after: ", absl::FormatDuration(spec.lost_after), "}\nworkers:", spec.workers.empty() ? " []\n" : "\n");
  for (const WorkerSpec& worker : spec.workers) {
    const std::string memory =
        worker.memory_bytes == 0 ? "" : absl::StrCat(", memory: ", SizeText(worker.memory_bytes));
    absl::StrAppend(&text, "  - {host: ", YamlText(worker.host), ", devices: [", YamlText(worker.device), "]", memory,
                    "}\n");
  }
  return text;
}

}  // namespace penstock

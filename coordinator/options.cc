#include "coordinator/options.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/file.h"

namespace penstock {

const char kCoordinatorUsage[] =
    "penstock-coordinator --config cluster.yaml [--ready-fd N] [--state-lock-fd N] [--die-with-parent]\n"
    "                     [--worker-binary PATH]\n"
    "  --config FILE         the cluster's file\n"
    "  --ready-fd N          writes one line of JSON to this descriptor once it listens\n"
    "  --state-lock-fd N     the open STATE_DIR/lock that the process which starts it holds for it\n"
    "  --die-with-parent     stops, with a checkpoint, when the process that started it ends\n"
    "  --worker-binary PATH  penstock-worker; default: beside this program, then ../worker/penstock-worker\n"
    "  --version, --help\n"
    "SIGTERM or SIGINT: checkpoints running jobs, ends the workers, exits 0; a second one ends at once.\n";

absl::StatusOr<CoordinatorOptions> ParseCoordinatorOptions(const std::vector<std::string>& args) {
  CoordinatorOptions options;
  for (size_t i = 0; i < args.size(); ++i) {
    std::string flag = args[i], value;
    bool has_value = false;
    if (const size_t equals = flag.find('='); equals != std::string::npos && absl::StartsWith(flag, "--")) {
      value = flag.substr(equals + 1);
      flag = flag.substr(0, equals);
      has_value = true;
    }
    const bool takes_value =
        flag == "--config" || flag == "--ready-fd" || flag == "--state-lock-fd" || flag == "--worker-binary";
    if (takes_value && !has_value) {
      if (i + 1 == args.size()) return absl::InvalidArgumentError(absl::StrCat(flag, " needs a value"));
      value = args[++i];
    }
    if (flag == "--config") {
      options.config = value;
    } else if (flag == "--ready-fd" || flag == "--state-lock-fd") {
      int& fd = flag == "--ready-fd" ? options.ready_fd : options.state_lock_fd;
      if (!absl::SimpleAtoi(value, &fd) || fd < 0) {
        return absl::InvalidArgumentError(absl::StrCat(flag, " takes a file descriptor's number, not '", value, "'"));
      }
    } else if (flag == "--worker-binary") {
      options.worker_binary = value;
    } else if (flag == "--die-with-parent") {
      options.die_with_parent = true;
    } else if (flag == "--help" || flag == "-h") {
      options.help = true;
    } else if (flag == "--version") {
      options.version = true;
    } else {
      return absl::InvalidArgumentError(absl::StrCat("unknown argument '", args[i], "'"));
    }
  }
  if (options.config.empty() && !options.help && !options.version) {
    return absl::InvalidArgumentError("--config is missing");
  }
  return options;
}

absl::StatusOr<std::string> FindWorkerBinary(const CoordinatorOptions& options) {
  std::vector<std::string> places;
  if (!options.worker_binary.empty()) {
    places.push_back(options.worker_binary);
  } else {
    std::array<char, PATH_MAX> self{};
    if (readlink("/proc/self/exe", self.data(), self.size() - 1) > 0) {
      const std::string folder = ParentPath(self.data());
      places.push_back(JoinPath(folder, "penstock-worker"));
      places.push_back(JoinPath(ParentPath(folder), "worker/penstock-worker"));
    }
  }
  for (const std::string& place : places) {
    std::array<char, PATH_MAX> resolved{};
    if (access(place.c_str(), X_OK) == 0 && realpath(place.c_str(), resolved.data()) != nullptr) return resolved.data();
  }
  return absl::NotFoundError(absl::StrCat("no penstock-worker: looked for ", absl::StrJoin(places, ", "),
                                          "; build //worker:penstock-worker or give --worker-binary"));
}

}  // namespace penstock

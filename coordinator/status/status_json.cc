#include "coordinator/status/status_json.h"

#include <utility>

#include "common/proto_json.h"

namespace penstock {

std::string ClusterJson(const v1::ClusterStatus& cluster) { return JsonText(ProtoToJson(cluster), 1) + "\n"; }

std::string JobJson(const v1::GetReply& job) {
  nlohmann::ordered_json json = ProtoToJson(job.status());
  json["checkpoints"] = nlohmann::ordered_json::array();
  for (const v1::CheckpointInfo& checkpoint : job.checkpoints()) json["checkpoints"].push_back(ProtoToJson(checkpoint));
  return JsonText(json, 1) + "\n";
}

}  // namespace penstock

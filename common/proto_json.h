// Messages as JSON for people's programs: the fields' own names in their own order, all of them, numbers as numbers
// (64-bit ones too), enums by name, bytes as text. Not a finite number: null. Pure.
#ifndef PENSTOCK_COMMON_PROTO_JSON_H_
#define PENSTOCK_COMMON_PROTO_JSON_H_

#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>
#include <string>

namespace penstock {

// A field that is not set: its zero value; a message that is not set: null.
nlohmann::ordered_json ProtoToJson(const google::protobuf::Message& message);

// `json` on one line (indent < 0) or indented; invalid UTF-8 is replaced, never an exception.
std::string JsonText(const nlohmann::ordered_json& json, int indent = -1);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_PROTO_JSON_H_

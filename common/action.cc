#include "common/action.h"

#include <array>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

// Text forms, in the order of ActionKind.
constexpr std::array<absl::string_view, 9> kKindText = {"F",      "B", "SEND_F", "RECV_F", "SEND_B",
                                                        "RECV_B", "I", "W",      "R"};

absl::string_view KindText(ActionKind kind) { return kKindText[static_cast<size_t>(kind) - 1]; }

}  // namespace

bool IsCompute(ActionKind kind) { return !IsSend(kind) && !IsRecv(kind); }
bool IsSend(ActionKind kind) { return kind == ActionKind::kSendForward || kind == ActionKind::kSendBackward; }
bool IsRecv(ActionKind kind) { return kind == ActionKind::kRecvForward || kind == ActionKind::kRecvBackward; }
bool IsBackward(ActionKind kind) { return kind == ActionKind::kBackward || kind == ActionKind::kInputGradient; }

std::string ToText(const Action& action) {
  return absl::StrCat(action.stage, KindText(action.kind), action.micro_batch);
}

absl::StatusOr<Action> ActionFromText(absl::string_view text) {
  size_t kind_begin = 0;
  while (kind_begin < text.size() && absl::ascii_isdigit(text[kind_begin])) ++kind_begin;
  size_t kind_end = text.size();
  while (kind_end > kind_begin && absl::ascii_isdigit(text[kind_end - 1])) --kind_end;
  Action action;
  const absl::string_view kind = text.substr(kind_begin, kind_end - kind_begin);
  for (size_t i = 0; i < kKindText.size(); ++i) {
    if (kind != kKindText[i]) continue;
    action.kind = static_cast<ActionKind>(i + 1);
    if (absl::SimpleAtoi(text.substr(0, kind_begin), &action.stage) &&
        absl::SimpleAtoi(text.substr(kind_end), &action.micro_batch)) {
      return action;
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is not an action; write <stage><kind><micro-batch> such as 2F0, with kind one of ",
                   "F, B, I, W, R (sends and receives follow from these)"));
}

std::vector<std::string> ToWords(const ActionList& list) {
  std::vector<std::string> words;
  bool joins = false;  // the next action goes on with the last word
  for (size_t i = 0; i < list.size(); ++i) {
    std::string text = absl::StrCat(ToText(list[i]), list[i].fused ? "&" : "");
    if (joins) {
      words.back().append(text);
    } else {
      words.push_back(std::move(text));
    }
    joins = list[i].fused && i + 1 < list.size() && IsCompute(list[i + 1].kind);
  }
  return words;
}

absl::StatusOr<ActionList> ListFromText(absl::string_view text) {
  ActionList list;
  for (const absl::string_view word : absl::StrSplit(text, absl::ByAnyChar(" \t\r\n"), absl::SkipEmpty())) {
    const std::vector<absl::string_view> parts = absl::StrSplit(word, '&');
    for (size_t i = 0; i < parts.size(); ++i) {
      // The word may end in the sign: "0F7&".
      if (i > 0 && i + 1 == parts.size() && parts[i].empty()) break;
      PENSTOCK_ASSIGN_OR_RETURN(Action action, ActionFromText(parts[i]));
      action.fused = i + 1 < parts.size();
      list.push_back(action);
    }
  }
  return list;
}

v1::Action ToProto(const Action& action) {
  v1::Action proto;
  proto.set_stage(action.stage);
  proto.set_kind(static_cast<v1::ActionKind>(action.kind));
  proto.set_micro_batch(action.micro_batch);
  proto.set_fused(action.fused);
  return proto;
}

v1::RankActions ToProto(const ActionList& list) {
  v1::RankActions proto;
  for (const Action& action : list) *proto.add_actions() = ToProto(action);
  return proto;
}

absl::StatusOr<Action> FromProto(const v1::Action& proto) {
  const int kind = proto.kind();
  if (kind < 1 || kind > static_cast<int>(kKindText.size())) {
    return absl::InvalidArgumentError(absl::StrCat("action kind ", kind, " is not known to this version"));
  }
  return Action{static_cast<int>(proto.stage()), static_cast<ActionKind>(kind), static_cast<int>(proto.micro_batch()),
                proto.fused()};
}

absl::StatusOr<ActionList> FromProto(const v1::RankActions& proto) {
  ActionList list;
  list.reserve(proto.actions_size());
  for (const v1::Action& action : proto.actions()) {
    PENSTOCK_ASSIGN_OR_RETURN(list.emplace_back(), FromProto(action));
  }
  return list;
}

}  // namespace penstock

// Actions: the entries of a rank's list, the vocabulary that planner, validator, simulator and runtime share.
// Source: docs/schedules.md.
#ifndef PENSTOCK_COMMON_ACTION_H_
#define PENSTOCK_COMMON_ACTION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/plan.pb.h"

namespace penstock {

enum class ActionKind : uint8_t {
  kForward = 1,     // F
  kBackward,        // B: gradient for the input, then for the weights
  kSendForward,     // SEND_F: this stage's activation to stage + 1
  kRecvForward,     // RECV_F: the activation that this stage's F needs, from stage - 1
  kSendBackward,    // SEND_B: this stage's gradient to stage - 1
  kRecvBackward,    // RECV_B: the gradient that this stage's B or I needs, from stage + 1
  kInputGradient,   // I: the first part of B
  kWeightGradient,  // W: the second
  kRecompute,       // R: F once more, where its activations were not kept
};

struct Action {
  int stage = 0;
  ActionKind kind = ActionKind::kForward;
  int micro_batch = 0;
  // A pair with the list's next compute action: the two may run at once. Text joins them: "0F7&7B3".
  bool fused = false;

  friend bool operator==(const Action&, const Action&) = default;
};

// One rank's list, in the order in which it runs.
using ActionList = std::vector<Action>;
// One list per rank.
using ActionTable = std::vector<ActionList>;

bool IsCompute(ActionKind kind);
bool IsSend(ActionKind kind);
bool IsRecv(ActionKind kind);

bool IsBackward(ActionKind kind);  // B or I: what the gradient of a stage's output goes into

// "2F0", "2SEND_F0". Says nothing of `fused`: that is the list's (ToWords).
std::string ToText(const Action& action);

// Errors: InvalidArgument: not <stage><kind><micro-batch>; names the text and the known kinds.
absl::StatusOr<Action> ActionFromText(absl::string_view text);

// A list word by word. An action is a word, a fused pair is one too: "0F7&7B3". Where sends or receives stand between
// the two actions of a pair, the first keeps its sign alone: "0F7&", "0SEND_F7", "7B3".
std::vector<std::string> ToWords(const ActionList& list);

// The reverse: words between white space.
// Errors: InvalidArgument: as ActionFromText, for the first word that is none.
absl::StatusOr<ActionList> ListFromText(absl::string_view text);

v1::Action ToProto(const Action& action);
v1::RankActions ToProto(const ActionList& list);

// Errors: InvalidArgument: an unknown kind.
absl::StatusOr<Action> FromProto(const v1::Action& action);
absl::StatusOr<ActionList> FromProto(const v1::RankActions& list);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_ACTION_H_

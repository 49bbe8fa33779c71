// Actions as text, as words of a list, and as protos.
#include "common/action.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "absl/strings/str_join.h"

namespace penstock {
namespace {

constexpr ActionKind kKinds[] = {ActionKind::kForward,       ActionKind::kBackward,       ActionKind::kSendForward,
                                 ActionKind::kRecvForward,   ActionKind::kSendBackward,   ActionKind::kRecvBackward,
                                 ActionKind::kInputGradient, ActionKind::kWeightGradient, ActionKind::kRecompute};

TEST(ActionTest, EveryKindHasATextOfItsOwn) {
  std::string texts;
  for (const ActionKind kind : kKinds) {
    const Action action{12, kind, 3};
    texts += ToText(action) + " ";
    EXPECT_EQ(*ActionFromText(ToText(action)), action);
    EXPECT_EQ(*FromProto(ToProto(action)), action);
  }
  EXPECT_EQ(texts, "12F3 12B3 12SEND_F3 12RECV_F3 12SEND_B3 12RECV_B3 12I3 12W3 12R3 ");
}

TEST(ActionTest, OnlyFBIWAndRCompute) {
  std::string compute, backward;
  for (const ActionKind kind : kKinds) {
    if (IsCompute(kind)) compute += ToText({0, kind, 0});
    if (IsBackward(kind)) backward += ToText({0, kind, 0});
    EXPECT_EQ(IsCompute(kind) + IsSend(kind) + IsRecv(kind), 1);
  }
  EXPECT_EQ(compute, "0F00B00I00W00R0");
  EXPECT_EQ(backward, "0B00I0");
}

TEST(ActionTest, WhatIsNoActionIsNamed) {
  for (const char* text : {"", "F0", "0F", "0Q0", "-1F0", "0f0", "0F0 ", "99999999999F0", "0SENDF0", "0F0&1B0"}) {
    const absl::Status status = ActionFromText(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_NE(status.message().find(absl::StrCat("'", text, "' is not an action")), std::string::npos) << status;
  }
}

TEST(ActionTest, AFusedPairIsOneWord) {
  const ActionList list = *ListFromText("0F6 0F7&7B3\t7B4\n 7I5&0F8");
  ASSERT_EQ(list.size(), 6u);
  EXPECT_EQ(list[1], (Action{0, ActionKind::kForward, 7, true}));
  EXPECT_EQ(list[2], (Action{7, ActionKind::kBackward, 3, false}));
  EXPECT_EQ(absl::StrJoin(ToWords(list), " "), "0F6 0F7&7B3 7B4 7I5&0F8");
  EXPECT_TRUE(FromProto(ToProto(list[1]))->fused);
}

TEST(ActionTest, APairWithTransfersBetweenKeepsItsSign) {
  const std::string text = "0F7& 0SEND_F7 7RECV_B3 7B3";
  const ActionList list = *ListFromText(text);
  EXPECT_TRUE(list[0].fused);
  EXPECT_EQ(absl::StrJoin(ToWords(list), " "), text);
}

TEST(ActionTest, ABrokenPairIsNamed) {
  for (const char* text : {"0F7&&7B3", "&7B3", "0F7&7Q3", "0F7 & 7B3"}) {
    EXPECT_EQ(ListFromText(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_TRUE(ListFromText(" \n")->empty());
}

TEST(ActionTest, AnyListReadsBackFromItsWords) {
  std::mt19937 random(1);
  for (int i = 0; i < 500; ++i) {
    ActionList list(random() % 8);
    for (Action& action : list) {
      action = {static_cast<int>(random() % 30), kKinds[random() % 9], static_cast<int>(random() % 30)};
      action.fused = IsCompute(action.kind) && random() % 2 == 0;
    }
    const auto again = ListFromText(absl::StrJoin(ToWords(list), " "));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(*again, list) << absl::StrJoin(ToWords(list), " ");
  }
}

TEST(ActionTest, AnUnknownKindIsRefused) {
  v1::Action proto;
  EXPECT_EQ(FromProto(proto).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace penstock

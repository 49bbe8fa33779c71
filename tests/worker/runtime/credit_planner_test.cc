#include "worker/runtime/credit_planner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <vector>

namespace penstock {
namespace {

using State = CreditPlanner::State;

BoundaryKey Key(uint64_t pass, int micro_batch, int stage = 1) {
  return {pass, stage, v1::DIRECTION_FORWARD, micro_batch, "x"};
}

std::vector<ExpectedTensor> Tensors(int count, size_t bytes) {
  std::vector<ExpectedTensor> tensors;
  for (int i = 0; i < count; ++i) tensors.push_back({Key(0, i), 0, bytes});
  return tensors;
}

std::vector<BoundaryKey> Keys(const std::vector<Grant>& grants) {
  std::vector<BoundaryKey> keys;
  for (const Grant& grant : grants) keys.push_back(grant.key);
  return keys;
}

TEST(CreditPlannerTest, GrantsInOrderWhatFitsTheBudget) {
  CreditPlanner planner(300);
  EXPECT_EQ(Keys(planner.BeginRange(Tensors(5, 100), 7, 1)), (std::vector{Key(7, 0), Key(7, 1), Key(7, 2)}));
  EXPECT_EQ(planner.StateOf(Key(7, 2)), State::kGranted);
  EXPECT_EQ(planner.StateOf(Key(7, 3)), State::kNotGranted);
}

TEST(CreditPlannerTest, AlwaysGrantsTheNextNeededTensorHoweverLarge) {
  CreditPlanner planner(10);
  EXPECT_EQ(Keys(planner.BeginRange(Tensors(2, 100), 1, 1)), (std::vector{Key(1, 0)}));
  EXPECT_EQ(Keys(planner.Taken(Key(1, 0))), (std::vector{Key(1, 1)}));
}

TEST(CreditPlannerTest, GrantsAgainOnceHalfOfTheBudgetIsFree) {
  CreditPlanner planner(400);
  EXPECT_EQ(planner.BeginRange(Tensors(10, 100), 1, 1).size(), 4u);
  EXPECT_TRUE(planner.Taken(Key(1, 0)).empty());
  EXPECT_EQ(Keys(planner.Taken(Key(1, 1))), (std::vector{Key(1, 4), Key(1, 5)}));
}

TEST(CreditPlannerTest, GrantsTheNextPassAheadOfItsStartButNotBeyondTheRange) {
  CreditPlanner planner(1000);
  EXPECT_EQ(Keys(planner.BeginRange(Tensors(2, 100), 4, 2)), (std::vector{Key(4, 0), Key(4, 1), Key(5, 0), Key(5, 1)}));
  EXPECT_EQ(planner.StateOf(Key(6, 0)), State::kNotGranted);
}

TEST(CreditPlannerTest, CallsWhatWasTakenAndOldPassesStale) {
  CreditPlanner planner(1000);
  planner.BeginRange(Tensors(2, 100), 4, 2);
  planner.Taken(Key(4, 0));
  EXPECT_EQ(planner.StateOf(Key(4, 0)), State::kTaken);
  EXPECT_EQ(planner.StateOf(Key(3, 1)), State::kTaken);
  EXPECT_EQ(planner.StateOf(Key(4, 1)), State::kGranted);
}

TEST(CreditPlannerTest, KeepsToItsWordWhenARangeEndsEarly) {
  CreditPlanner planner(200);
  planner.BeginRange(Tensors(2, 100), 1, 10);
  planner.Taken(Key(1, 0));
  planner.Taken(Key(1, 1));  // passes 2's two tensors are granted now; then the range is stopped after pass 1
  std::vector<ExpectedTensor> other = {{Key(0, 1), 0, 100}, {Key(0, 0), 0, 100}};
  planner.BeginRange({other[0]}, 2, 1);
  EXPECT_EQ(planner.StateOf(Key(2, 0)), State::kGranted);  // its sender was told so
  planner.Taken(Key(2, 1));
  EXPECT_EQ(planner.StateOf(Key(2, 1)), State::kTaken);
}

TEST(CreditPlannerTest, ARankThatReceivesNothingGrantsNothing) {
  CreditPlanner planner(1000);
  EXPECT_TRUE(planner.BeginRange({}, 1, 100).empty());
  EXPECT_EQ(planner.StateOf(Key(1, 0)), State::kNotGranted);
}

// A pipeline of ranks in miniature. Every rank runs a list of receives and sends in order; a send waits in a queue
// until it is granted; the scheduler moves any rank or any wire, at random.
struct Rank {
  struct Step {
    bool receive;
    BoundaryKey key;
    int peer;
  };
  std::vector<Step> list;
  size_t at = 0;
  CreditPlanner planner{0};
  std::deque<std::pair<BoundaryKey, int>> unsent;
  std::vector<BoundaryKey> granted;  // to this rank, as a sender
  std::vector<BoundaryKey> mailbox;
};

class Miniature {
 public:
  explicit Miniature(uint32_t seed) : random_(seed) {}

  // Random tensors with a valid global order: each is sent, then received, in an order that some run can follow.
  void Build() {
    const int ranks = 2 + random_() % 4, tensors = 1 + random_() % 30;
    ranks_.resize(ranks);
    for (int i = 0; i < tensors; ++i) {
      const int from = random_() % ranks;
      const int to = (from + 1 + random_() % (ranks - 1)) % ranks;
      const BoundaryKey key = Key(0, i, to);
      ranks_[from].list.push_back({false, key, to});
      // A receive is put later by a random number of the tensors that follow.
      pending_.push_back({key, from, to, static_cast<int>(random_() % 4)});
      Flush();
    }
    for (auto& waiting : pending_) waiting.after = 0;
    Flush();
    passes_ = 1 + random_() % 4;
    for (Rank& rank : ranks_) Begin(&rank);
  }

  // Moves until nothing can move. Returns whether every list has run to its end.
  bool Run() {
    while (true) {
      std::vector<int> order(ranks_.size());
      for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
      std::shuffle(order.begin(), order.end(), random_);
      bool moved = false;
      for (const int rank : order) moved = (random_() % 2 ? Step(rank) || Transmit(rank) : Transmit(rank)) || moved;
      if (!moved) {
        for (const int rank : order) moved = Step(rank) || Transmit(rank) || moved;
        if (!moved) break;
      }
    }
    return std::all_of(ranks_.begin(), ranks_.end(), [](const Rank& rank) { return rank.at == rank.list.size(); });
  }

  bool over_budget = false;

 private:
  struct Waiting {
    BoundaryKey key;
    int from, to, after;
  };

  void Flush() {
    for (auto it = pending_.begin(); it != pending_.end();) {
      if (it->after-- > 0) {
        ++it;
        continue;
      }
      ranks_[it->to].list.push_back({true, it->key, it->from});
      it = pending_.erase(it);
    }
  }

  void Begin(Rank* rank) {
    std::vector<ExpectedTensor> expected;
    for (const Rank::Step& step : rank->list) {
      if (step.receive) expected.push_back({step.key, step.peer, 1 + random_() % 100});
    }
    const std::vector<Rank::Step> once = rank->list;
    rank->list.clear();
    for (uint64_t pass = 0; pass < passes_; ++pass) {
      for (Rank::Step step : once) {
        step.key.pass = pass + 1;
        rank->list.push_back(step);
      }
    }
    rank->planner = CreditPlanner(random_() % 300);
    Hand(rank->planner.BeginRange(std::move(expected), 1, passes_));
  }

  void Hand(const std::vector<Grant>& grants) {
    for (const Grant& grant : grants) ranks_[grant.link].granted.push_back(grant.key);
  }

  bool Step(int index) {
    Rank& rank = ranks_[index];
    if (rank.at == rank.list.size()) return false;
    const Rank::Step& step = rank.list[rank.at];
    if (!step.receive) {
      rank.unsent.push_back({step.key, step.peer});
    } else {
      const auto found = std::find(rank.mailbox.begin(), rank.mailbox.end(), step.key);
      if (found == rank.mailbox.end()) return false;
      rank.mailbox.erase(found);
      Hand(rank.planner.Taken(step.key));
    }
    ++rank.at;
    return true;
  }

  bool Transmit(int index) {
    Rank& rank = ranks_[index];
    for (auto it = rank.unsent.begin(); it != rank.unsent.end(); ++it) {
      if (std::find(rank.granted.begin(), rank.granted.end(), it->first) == rank.granted.end()) continue;
      Rank& to = ranks_[it->second];
      if (to.planner.StateOf(it->first) != State::kGranted) over_budget = true;
      to.mailbox.push_back(it->first);
      rank.unsent.erase(it);
      return true;
    }
    return false;
  }

  std::mt19937 random_;
  std::vector<Rank> ranks_;
  std::vector<Waiting> pending_;
  uint64_t passes_ = 1;
};

TEST(CreditPlannerTest, NoOrderOfSendsReceivesAndArrivalsCanDeadlock) {
  for (uint32_t seed = 1; seed <= 3000; ++seed) {
    Miniature miniature(seed);
    miniature.Build();
    ASSERT_TRUE(miniature.Run()) << "seed " << seed;
    ASSERT_FALSE(miniature.over_budget) << "seed " << seed;
  }
}

}  // namespace
}  // namespace penstock

// How each schedule of schedule.h makes its lists. For schedule.cc alone. Pure.
// Every function: rank r of p ranks, m micro-batches, v stages a rank, in the schedule's own placement.
// REQUIRES: FindUnmetNeed finds none.
#ifndef PENSTOCK_COORDINATOR_PLAN_SCHEDULE_LISTS_H_
#define PENSTOCK_COORDINATOR_PLAN_SCHEDULE_LISTS_H_

#include "common/action.h"

namespace penstock {

// All forwards, then all backwards, both in ascending order: the order in which gradients are added. Chunk by chunk
// where there are several. Reverse: input gradients from the last micro-batch to the first, then the weight gradients,
// ascending.
ActionTable GPipeLists(int ranks, int chunks, int micro_batches, bool reverse);

// min(m, p - 1 - r) forwards, then a forward and a backward in turn, then the backwards that are left. At most p - r
// micro-batches are between their forward and their backward on rank r.
ActionTable OneForwardOneBackwardLists(int ranks, int micro_batches);

// 1F1B over chunks: a round takes `group` micro-batches through each chunk.
ActionTable InterleavedLists(int ranks, int chunks, int micro_batches, int group);

// 1F1B with backwards in two parts; a W stands where more than r of them wait. Keeps what 1F1B keeps, and less idle.
ActionTable ZeroBubbleH1Lists(int ranks, int micro_batches);
// Twice the forwards before the first backward, and twice the W's that may wait: less idle, for twice the activations.
ActionTable ZeroBubbleH2Lists(int ranks, int micro_batches);

// V placement, two chunks.
ActionTable ZeroBubbleVLists(int ranks, int micro_batches);
ActionTable DualPipeVLists(int ranks, int micro_batches);
// Keep about p/2 + 1 and p/3 + 1 micro-batches where 1F1B keeps p. Their lists are made for TF = TI = TW.
ActionTable VHalfLists(int ranks, int micro_batches);
ActionTable VMinLists(int ranks, int micro_batches);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_SCHEDULE_LISTS_H_

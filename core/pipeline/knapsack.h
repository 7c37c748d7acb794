// The multiple-choice knapsack: one choice of every item, so that costs stay
// within a budget and the sum of losses is the least there is.
#ifndef QUANT_CORE_PIPELINE_KNAPSACK_H_
#define QUANT_CORE_PIPELINE_KNAPSACK_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"

namespace quant {

struct KnapsackChoice {
  int64_t cost = 0;  // >= 0; sums over all items must not overflow
  double loss = 0;   // finite, >= 0
};

// At least one choice, in any order.
using KnapsackItem = std::vector<KnapsackChoice>;

struct KnapsackResult {
  std::vector<int> chosen;  // per item: index of its choice
  int64_t cost = 0;
  double loss = 0;
  // No solution has a loss below loss - gap. 0 when the search was finished, up
  // to rounding; more when it met its bound on memory.
  double gap = 0;
};

// Nothing when even the cheapest choices cost more than the budget. The same
// input gives the same result.
std::optional<KnapsackResult> SolveKnapsack(
    absl::Span<const KnapsackItem> items, int64_t budget);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_KNAPSACK_H_

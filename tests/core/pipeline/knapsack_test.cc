// The solver against brute force, and on instances as large as models make.
#include "core/pipeline/knapsack.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "absl/strings/str_cat.h"

namespace quant {
namespace {

using Instance = std::vector<KnapsackItem>;

int64_t CostOf(const Instance& items, const std::vector<int>& chosen) {
  int64_t cost = 0;
  for (size_t i = 0; i < items.size(); ++i) cost += items[i][chosen[i]].cost;
  return cost;
}

double LossOf(const Instance& items, const std::vector<int>& chosen) {
  double loss = 0;
  for (size_t i = 0; i < items.size(); ++i) loss += items[i][chosen[i]].loss;
  return loss;
}

// The least loss of items [i, end) within the budget, by trying everything;
// infinite when nothing fits.
double BruteForce(const Instance& items, size_t i, int64_t budget) {
  if (budget < 0) return std::numeric_limits<double>::infinity();
  if (i == items.size()) return 0;
  double least = std::numeric_limits<double>::infinity();
  for (const KnapsackChoice& choice : items[i]) {
    least = std::min(
        least, choice.loss + BruteForce(items, i + 1, budget - choice.cost));
  }
  return least;
}

struct Range {
  int64_t least = 0, most = 0;
};

Range CostsOf(const Instance& items) {
  Range range;
  for (const KnapsackItem& item : items) {
    int64_t least = item[0].cost, most = item[0].cost;
    for (const KnapsackChoice& choice : item) {
      least = std::min(least, choice.cost);
      most = std::max(most, choice.cost);
    }
    range.least += least;
    range.most += most;
  }
  return range;
}

// Costs and losses as weights have them: a size times bits, an energy times
// 4^-bits, both a little off. `grain` > 1 makes many sums equal.
Instance LikeWeights(std::mt19937& random, int count, int choices,
                     int64_t grain) {
  std::uniform_int_distribution<int64_t> size(1, 1'000'000);
  std::lognormal_distribution<double> energy(0, 2);
  std::uniform_real_distribution<double> off(0.7, 1.3);
  Instance items;
  for (int i = 0; i < count; ++i) {
    const int64_t elements = (size(random) / grain + 1) * grain;
    const double scale = energy(random) * static_cast<double>(elements);
    KnapsackItem& item = items.emplace_back();
    for (int bits = 2; bits < 2 + choices; ++bits) {
      const bool whole = bits == 1 + choices;
      item.push_back(
          {.cost = elements * (whole ? 16 : bits) / 8,
           .loss = whole ? 0 : scale * std::pow(4, -bits) * off(random)});
    }
  }
  return items;
}

// Nothing in particular: dominated choices, equal ones, free ones.
Instance Anything(std::mt19937& random, int count, int choices) {
  std::uniform_int_distribution<int64_t> cost(0, 40);
  std::uniform_int_distribution<int> loss(0, 20);
  std::uniform_int_distribution<int> some(1, choices);
  Instance items(count);
  for (KnapsackItem& item : items) {
    for (int i = some(random); i > 0; --i) {
      item.push_back(
          {.cost = cost(random), .loss = static_cast<double>(loss(random))});
    }
  }
  return items;
}

void ExpectOptimal(const Instance& items, int64_t budget) {
  const double least = BruteForce(items, 0, budget);
  const auto result = SolveKnapsack(items, budget);
  ASSERT_EQ(result.has_value(), std::isfinite(least)) << budget;
  if (!result) return;
  ASSERT_EQ(result->chosen.size(), items.size());
  EXPECT_EQ(result->cost, CostOf(items, result->chosen));
  EXPECT_EQ(result->loss, LossOf(items, result->chosen));
  EXPECT_LE(result->cost, budget);
  EXPECT_NEAR(result->loss, least, 1e-9 * least);
  EXPECT_EQ(result->gap, 0);
}

TEST(Knapsack, TenItemsOfFiveChoicesEqualBruteForce) {
  std::mt19937 random(1);
  for (int round = 0; round < 24; ++round) {
    SCOPED_TRACE(absl::StrCat("round ", round));
    const Instance items = LikeWeights(random, 10, 5, round % 2 ? 100'000 : 1);
    const Range costs = CostsOf(items);
    std::uniform_int_distribution<int64_t> budget(costs.least, costs.most);
    ASSERT_NO_FATAL_FAILURE(ExpectOptimal(items, budget(random)));
  }
}

TEST(Knapsack, ThousandsOfSmallInstancesEqualBruteForce) {
  std::mt19937 random(2);
  std::uniform_int_distribution<int> count(0, 6);
  for (int round = 0; round < 6000; ++round) {
    SCOPED_TRACE(absl::StrCat("round ", round));
    const Instance items = round % 2 ? Anything(random, count(random), 5)
                                     : LikeWeights(random, count(random), 5, 1);
    const Range costs = CostsOf(items);
    std::uniform_int_distribution<int64_t> budget(costs.least - 2,
                                                  costs.most + 2);
    ASSERT_NO_FATAL_FAILURE(ExpectOptimal(items, budget(random)));
  }
}

// As large as models make them: proven optimal, or, where the search met its
// cap on memory, proven to be within a hundred-thousandth of the best.
TEST(Knapsack, ThousandsOfItemsAreSolvedToTheEnd) {
  std::mt19937 random(3);
  for (int64_t grain : {int64_t{1}, int64_t{65536}}) {
    const Instance items = LikeWeights(random, 5000, 8, grain);
    const Range costs = CostsOf(items);
    for (int part = 1; part < 10; ++part) {
      const int64_t budget =
          costs.least + (costs.most - costs.least) * part / 10;
      const auto result = SolveKnapsack(items, budget);
      ASSERT_TRUE(result.has_value());
      EXPECT_LE(result->cost, budget);
      EXPECT_EQ(result->cost, CostOf(items, result->chosen));
      EXPECT_LE(result->gap, 1e-5 * result->loss) << grain << " " << part;
    }
  }
}

TEST(Knapsack, MoreRoomIsNeverWorse) {
  std::mt19937 random(4);
  const Instance items = LikeWeights(random, 60, 8, 1);
  const Range costs = CostsOf(items);
  double before = std::numeric_limits<double>::infinity();
  for (int part = 0; part <= 100; ++part) {
    const auto result = SolveKnapsack(
        items, costs.least + (costs.most - costs.least) * part / 100);
    ASSERT_TRUE(result.has_value());
    EXPECT_LE(result->loss, before * (1 + 1e-12)) << part;
    before = result->loss;
  }
  EXPECT_EQ(before, 0);
}

TEST(Knapsack, WhatIsCheapestMayNotFit) {
  const Instance items = {{{.cost = 5, .loss = 1}}, {{.cost = 6, .loss = 0}}};
  EXPECT_FALSE(SolveKnapsack(items, 10).has_value());
  EXPECT_TRUE(SolveKnapsack(items, 11).has_value());
  EXPECT_TRUE(SolveKnapsack({}, 0).has_value());
  EXPECT_FALSE(SolveKnapsack({}, -1).has_value());
}

}  // namespace
}  // namespace quant

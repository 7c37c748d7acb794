// Multiple-choice knapsack by relaxation and dynamic programming.
//
//   1. Relaxation: cost gets a price p, min over choices of loss + p cost, per
//      item, bounds the optimum from below; the best price is the slope of the
//      choice at which a greedy walk down the lower convex hulls meets the
//      budget. The walk itself gives a first solution.
//   2. What a choice costs above its item's minimum at price p is its regret.
//      Any solution better than the best one known has a sum of regrets below
//      the gap between bound and best: choices with more are struck out.
//   3. Over the items that are left with a choice: all partial solutions that
//   no
//      other beats in both cost and loss, and whose regret is below the gap.
//      Each is completed by minima at price p, which often improves the best.
//
// Source: P. Sinha, A. Zoltners, "The multiple-choice knapsack problem", 1979
// (1); D. Pisinger, "A minimal algorithm for the multiple-choice knapsack
// problem", 1995 (2 and 3). The items whose second choice is least regretted
// come first: their combinations soon fill the budget, the gap closes, and the
// search ends where no second choice is within it.
#include "core/pipeline/knapsack.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace quant {
namespace {

// Partial solutions that are kept: over one number of items, and over all of
// them (32 MiB).
constexpr size_t kMaxStates = 1 << 16;
constexpr size_t kMaxNodes = 1 << 22;
// Room for the rounding of sums, relative to their size.
constexpr double kSlack = 1e-12;

// A choice of one item that may still be part of the best solution.
struct Option {
  int choice = 0;  // index in its item
  int64_t cost = 0;
  double loss = 0;
  double regret = 0;
};

struct Item {
  int index = 0;                // in the caller's list
  std::vector<Option> options;  // by ascending cost and descending loss
  int minimum = 0;              // the option with the least loss + p cost
  // Regret of the next best option.
  double second = std::numeric_limits<double>::infinity();
};

// Options that no other beats in both cost and loss.
std::vector<Option> Undominated(const KnapsackItem& item) {
  std::vector<Option> options;
  for (size_t i = 0; i < item.size(); ++i) {
    options.push_back({.choice = static_cast<int>(i),
                       .cost = item[i].cost,
                       .loss = item[i].loss});
  }
  std::sort(options.begin(), options.end(),
            [](const Option& a, const Option& b) {
              if (a.cost != b.cost) return a.cost < b.cost;
              if (a.loss != b.loss) return a.loss < b.loss;
              return a.choice < b.choice;
            });
  std::vector<Option> kept;
  for (const Option& option : options) {
    if (kept.empty() || option.loss < kept.back().loss) kept.push_back(option);
  }
  return kept;
}

// A step down an item's lower convex hull.
struct Step {
  int item = 0;
  int from = 0, to = 0;  // options
  int64_t cost = 0;
  double slope = 0;  // loss that is saved per unit of cost
};

void AddSteps(int index, const std::vector<Option>& options,
              std::vector<Step>& steps) {
  const auto slope = [&](int from, int to) {
    return (options[from].loss - options[to].loss) /
           static_cast<double>(options[to].cost - options[from].cost);
  };
  std::vector<int> hull;
  for (int i = 0; i < static_cast<int>(options.size()); ++i) {
    while (hull.size() > 1 &&
           slope(hull[hull.size() - 2], hull.back()) <= slope(hull.back(), i)) {
      hull.pop_back();
    }
    hull.push_back(i);
  }
  for (size_t i = 1; i < hull.size(); ++i) {
    steps.push_back({.item = index,
                     .from = hull[i - 1],
                     .to = hull[i],
                     .cost = options[hull[i]].cost - options[hull[i - 1]].cost,
                     .slope = slope(hull[i - 1], hull[i])});
  }
}

class Solver {
 public:
  Solver(absl::Span<const KnapsackItem> items, int64_t budget)
      : given_(items), budget_(budget) {}

  std::optional<KnapsackResult> Run() {
    int64_t least = 0;
    for (size_t i = 0; i < given_.size(); ++i) {
      items_.push_back(
          {.index = static_cast<int>(i), .options = Undominated(given_[i])});
      least += items_.back().options.front().cost;
    }
    if (least > budget_) return std::nullopt;
    const bool all_fit = Walk(budget_ - least);
    if (all_fit) return Result(0);
    Price();
    StrikeOut();
    return Search() ? Result(0) : Result(best_loss_ - bound_);
  }

 private:
  // A choice for each of the first items.
  struct State {
    int64_t cost = 0;
    double loss = 0;
    double regret = 0;
    int before = -1;  // node of the state that it extends
    int option = 0;   // of the last item
  };
  struct Node {
    int before = -1;
    int option = 0;
  };

  // The greedy walk. True: every hull's last step fits, which is the optimum.
  bool Walk(int64_t room) {
    std::vector<Step> steps;
    for (size_t i = 0; i < items_.size(); ++i) {
      AddSteps(static_cast<int>(i), items_[i].options, steps);
    }
    std::sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) {
      if (a.slope != b.slope) return a.slope > b.slope;
      return a.item != b.item ? a.item < b.item : a.from < b.from;
    });
    std::vector<int> at(items_.size(), 0);
    bool split = false;
    for (const Step& step : steps) {
      // An item that could not take a step can't take the next ones.
      if (at[step.item] != step.from) continue;
      if (step.cost <= room) {
        room -= step.cost;
        at[step.item] = step.to;
      } else if (!split) {
        split = true;
        price_ = step.slope;
      }
    }
    chosen_.resize(items_.size());
    for (size_t i = 0; i < items_.size(); ++i) {
      const Option& option = items_[i].options[at[i]];
      chosen_[i] = option.choice;
      best_loss_ += option.loss;
    }
    return !split;
  }

  static double Priced(const Option& option, double price) {
    return option.loss + price * static_cast<double>(option.cost);
  }

  // Regrets, and the bound that the price gives.
  void Price() {
    bound_ = -price_ * static_cast<double>(budget_);
    for (Item& item : items_) {
      double least = std::numeric_limits<double>::infinity();
      for (size_t i = 0; i < item.options.size(); ++i) {
        const double value = Priced(item.options[i], price_);
        if (value >= least) continue;
        least = value;
        item.minimum = static_cast<int>(i);
      }
      for (Option& option : item.options) {
        option.regret = Priced(option, price_) - least;
      }
      bound_ += least;
      slack_ += kSlack * least;
    }
  }

  double Gap() const { return std::max(best_loss_ - bound_, 0.0) + slack_; }

  // Drops options with too much regret, and orders items for the search.
  void StrikeOut() {
    for (Item& item : items_) {
      const int minimum = item.options[item.minimum].choice;
      std::erase_if(item.options,
                    [&](const Option& o) { return o.regret > Gap(); });
      for (size_t i = 0; i < item.options.size(); ++i) {
        if (item.options[i].choice == minimum) {
          item.minimum = static_cast<int>(i);
        }
      }
    }
    for (Item& item : items_) {
      for (size_t i = 0; i < item.options.size(); ++i) {
        if (static_cast<int>(i) == item.minimum) continue;
        item.second = std::min(item.second, item.options[i].regret);
      }
    }
    std::stable_sort(
        items_.begin(), items_.end(),
        [](const Item& a, const Item& b) { return a.second < b.second; });
  }

  // What the items after `i` add at least, and at price p.
  struct Rest {
    int64_t least_cost = 0;
    int64_t cost = 0;
    double loss = 0;
  };

  std::vector<Rest> Rests() const {
    std::vector<Rest> rests(items_.size() + 1);
    for (size_t i = items_.size(); i-- > 0;) {
      const Item& item = items_[i];
      const Option& minimum = item.options[item.minimum];
      rests[i] = {
          .least_cost = rests[i + 1].least_cost + item.options.front().cost,
          .cost = rests[i + 1].cost + minimum.cost,
          .loss = rests[i + 1].loss + minimum.loss};
    }
    return rests;
  }

  // False: the bound on memory was met, and states were dropped.
  bool Search() {
    const std::vector<Rest> rests = Rests();
    bool complete = true;
    std::vector<State> states = {{}};
    int first_node = -1;  // of `states`
    for (size_t i = 0; i < items_.size() && items_[i].second <= Gap(); ++i) {
      states = Extend(states, first_node, items_[i], rests[i + 1]);
      complete &= DropWorst(states);
      if (nodes_.size() + states.size() > kMaxNodes) return false;
      first_node = static_cast<int>(nodes_.size());
      for (const State& state : states) {
        nodes_.push_back({.before = state.before, .option = state.option});
      }
      Complete(states, first_node, i + 1, rests[i + 1]);
    }
    return complete;
  }

  std::vector<State> Extend(const std::vector<State>& states, int first_node,
                            const Item& item, const Rest& rest) const {
    std::vector<State> next;
    for (size_t s = 0; s < states.size(); ++s) {
      for (size_t o = 0; o < item.options.size(); ++o) {
        const Option& option = item.options[o];
        const State state{
            .cost = states[s].cost + option.cost,
            .loss = states[s].loss + option.loss,
            .regret = states[s].regret + option.regret,
            .before = first_node < 0 ? -1 : first_node + static_cast<int>(s),
            .option = static_cast<int>(o)};
        if (state.cost + rest.least_cost > budget_) break;
        if (state.regret <= Gap()) next.push_back(state);
      }
    }
    std::sort(next.begin(), next.end(), [](const State& a, const State& b) {
      if (a.cost != b.cost) return a.cost < b.cost;
      if (a.loss != b.loss) return a.loss < b.loss;
      return a.before != b.before ? a.before < b.before : a.option < b.option;
    });
    size_t kept = 0;
    for (const State& state : next) {
      if (kept > 0 && state.loss >= next[kept - 1].loss) continue;
      next[kept++] = state;
    }
    next.resize(kept);
    return next;
  }

  // Keeps the states of least regret. True: that is all of them.
  static bool DropWorst(std::vector<State>& states) {
    if (states.size() <= kMaxStates) return true;
    std::vector<double> regrets;
    for (const State& state : states) regrets.push_back(state.regret);
    std::nth_element(regrets.begin(), regrets.begin() + kMaxStates,
                     regrets.end());
    std::erase_if(states, [limit = regrets[kMaxStates]](const State& state) {
      return state.regret >= limit;
    });
    return false;
  }

  // Completes states over the first `count` items by minima; keeps the best.
  void Complete(const std::vector<State>& states, int first_node, size_t count,
                const Rest& rest) {
    for (size_t s = 0; s < states.size(); ++s) {
      const double loss = states[s].loss + rest.loss;
      if (states[s].cost + rest.cost > budget_ || loss >= best_loss_) continue;
      best_loss_ = loss;
      for (size_t i = count; i < items_.size(); ++i) {
        const Item& item = items_[i];
        chosen_[item.index] = item.options[item.minimum].choice;
      }
      int node = first_node + static_cast<int>(s);
      for (size_t i = count; i-- > 0; node = nodes_[node].before) {
        chosen_[items_[i].index] =
            items_[i].options[nodes_[node].option].choice;
      }
    }
  }

  std::optional<KnapsackResult> Result(double gap) const {
    KnapsackResult result{.chosen = chosen_, .gap = std::max(gap, 0.0)};
    for (size_t i = 0; i < given_.size(); ++i) {
      result.cost += given_[i][chosen_[i]].cost;
      result.loss += given_[i][chosen_[i]].loss;
    }
    return result;
  }

  absl::Span<const KnapsackItem> given_;
  const int64_t budget_;
  std::vector<Item> items_;
  double price_ = 0;
  double bound_ = 0;  // no solution has less loss
  double slack_ = 0;
  double best_loss_ = 0;
  std::vector<int> chosen_;  // the best solution known
  std::vector<Node> nodes_;
};

}  // namespace

std::optional<KnapsackResult> SolveKnapsack(
    absl::Span<const KnapsackItem> items, int64_t budget) {
  return Solver(items, budget).Run();
}

}  // namespace quant

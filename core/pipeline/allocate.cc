// The error of an allocation is the sum over all tensors of (x_hat - x)^2,
// estimated from a sample of rows (sample_error.h): every tensor counts alike,
// whatever its role, and inside of it every weight, or those of important
// inputs more where an importance matrix says which. The budget is what is left
// of the target when headers and other files are counted as the plan counts
// them; they depend on the schemes a little, so it is found by trying.
#include "core/pipeline/allocate.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/bytes.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/pipeline/candidates.h"
#include "core/pipeline/knapsack.h"
#include "core/pipeline/sample_error.h"

namespace quant {
namespace {

// Tries to meet a target; each costs a layout. Headers of neighbouring
// allocations differ by few bytes, so the second or third fits.
constexpr int kMaxTries = 16;
// Sizes of the frontier besides the planned one.
constexpr int kFrontierSizes = 7;

class Allocator {
 public:
  explicit Allocator(AllocationRequest request)
      : r_(std::move(request)), target_(*r_.request->target) {}

  absl::StatusOr<OutputPlan> Run() {
    QUANT_ASSIGN_OR_RETURN(
        const LoaderCheck loader,
        LoaderCheck::Make(r_.request->loader, r_.request->format));
    QUANT_ASSIGN_OR_RETURN(items_, OpenItems({.model = r_.model,
                                              .roles = r_.roles,
                                              .format = r_.format,
                                              .loader = loader},
                                             r_.decisions));
    QUANT_RETURN_IF_ERROR(Measure());
    QUANT_ASSIGN_OR_RETURN(const OutputPlan smallest, Smallest());
    if (!Meets(smallest)) return TooSmall(smallest);
    QUANT_ASSIGN_OR_RETURN(OutputPlan plan, Best(smallest));
    if (NothingQuantized(plan)) return NothingToDo(plan);
    QUANT_RETURN_IF_ERROR(AddFrontier(smallest, plan));
    return plan;
  }

 private:
  // Losses of every candidate, in items_' order.
  absl::Status Measure() {
    choices_.resize(items_.size());
    std::vector<double> signals(items_.size(), 0);
    std::atomic<size_t> next{0};
    std::mutex mutex;
    absl::Status status;
    const auto work = [&](int) {
      for (size_t i = next++; i < items_.size(); i = next++) {
        const absl::StatusOr<double> signal = MeasureItem(i);
        std::lock_guard lock(mutex);
        if (!signal.ok()) {
          if (status.ok()) status = signal.status();
          return;
        }
        signals[i] = *signal;
      }
    };
    if (r_.pool != nullptr) {
      r_.pool->RunOnAll(work);
    } else {
      work(0);
    }
    for (double signal : signals) signal_ += signal;
    return status;
  }

  // Fills choices_[i]; answers the sum of squared values.
  absl::StatusOr<double> MeasureItem(size_t i) {
    const AllocationItem& item = items_[i];
    std::vector<Scheme> schemes;
    for (const Candidate& candidate : item.candidates) {
      choices_[i].push_back({.cost = candidate.bytes});
      if (candidate.scheme) schemes.push_back(*candidate.scheme);
    }
    double signal = 0;
    for (int tensor : item.tensors) {
      QUANT_ASSIGN_OR_RETURN(
          const SampledErrors errors,
          SampleErrors(*r_.model, tensor, *r_.request, schemes));
      for (size_t s = 0; s < schemes.size(); ++s) {
        choices_[i][s].loss += errors.noise[s];
      }
      signal += errors.signal;
    }
    for (KnapsackChoice& choice : choices_[i]) {
      // Values at the end of float32's range have infinite squares.
      if (!std::isfinite(choice.loss)) choice.loss = kWorstLoss;
    }
    return signal;
  }

  absl::StatusOr<OutputPlan> LayOut(const KnapsackResult& result) {
    std::vector<Decision> decisions = r_.decisions;
    for (size_t i = 0; i < items_.size(); ++i) {
      const Candidate& chosen = items_[i].candidates[result.chosen[i]];
      for (int tensor : items_[i].tensors) {
        Decision& decision = decisions[tensor];
        std::string reason =
            absl::StrCat("target ", TargetText(), ": ",
                         chosen.scheme ? chosen.scheme->name : "as it is");
        if (absl::StartsWith(decision.reason, "channel: ")) {
          absl::StrAppend(&reason, "; ", decision.reason);
        }
        decision = {.quantized = chosen.scheme.has_value(),
                    .scheme = chosen.scheme.value_or(Scheme()),
                    .reason = std::move(reason)};
      }
    }
    QUANT_ASSIGN_OR_RETURN(OutputPlan plan, r_.lay_out(decisions));
    plan.frontier = {
        {.total_bytes = plan.total_bytes,
         .bits_per_weight = plan.bits_per_weight,
         .relative_error = signal_ > 0 ? result.loss / signal_ : 0}};
    return plan;
  }

  std::string TargetText() const {
    return target_.bytes > 0
               ? FormatBytes(target_.bytes)
               : absl::StrFormat("%g bits per weight", target_.bits_per_weight);
  }

  bool Meets(const OutputPlan& plan) const {
    return target_.bytes > 0 ? plan.total_bytes <= target_.bytes
                             : plan.bits_per_weight <= target_.bits_per_weight;
  }

  int64_t LeastCost() const { return Extreme(/*most=*/false); }

  // The least that all choices cost, or the most that the best ones cost.
  int64_t Extreme(bool most) const {
    int64_t total = 0;
    for (const KnapsackItem& item : choices_) {
      const KnapsackChoice* found = &item[0];
      for (const KnapsackChoice& choice : item) {
        const bool better = most ? std::tie(choice.loss, choice.cost) <
                                       std::tie(found->loss, found->cost)
                                 : choice.cost < found->cost;
        if (better) found = &choice;
      }
      total += found->cost;
    }
    return total;
  }

  absl::StatusOr<OutputPlan> Smallest() {
    return LayOut(*SolveKnapsack(choices_, LeastCost()));
  }

  // What the chosen tensors may take together, if all else in the artifact is
  // as large as in `plan`, whose chosen ones take `cost`.
  int64_t Budget(const OutputPlan& plan, int64_t cost) const {
    if (target_.bytes > 0) return target_.bytes - (plan.total_bytes - cost);
    const double weights = Weights();
    const double others =
        plan.bits_per_weight / 8 * weights - static_cast<double>(cost);
    return static_cast<int64_t>(
        std::floor(target_.bits_per_weight / 8 * weights - others));
  }

  double Weights() const {
    double weights = 0;
    for (const TensorEntry& tensor : r_.model->tensors()) {
      if (!IsWeightFloat(tensor.dtype)) continue;
      weights += static_cast<double>(*NumElements(tensor.shape));
    }
    return weights;
  }

  absl::StatusOr<OutputPlan> Best(const OutputPlan& smallest) {
    OutputPlan best = smallest;
    int64_t budget = Budget(smallest, LeastCost());
    for (int i = 0; i < kMaxTries; ++i) {
      const auto result = SolveKnapsack(choices_, budget);
      if (!result) break;
      QUANT_ASSIGN_OR_RETURN(OutputPlan plan, LayOut(*result));
      const int64_t next = Budget(plan, result->cost);
      if (!Meets(plan)) {
        budget = std::min(next, result->cost - 1);
        continue;
      }
      if (plan.frontier[0].relative_error <= best.frontier[0].relative_error) {
        best = std::move(plan);
      }
      // More room than was thought: worth one more try.
      if (next <= budget) break;
      budget = next;
    }
    return best;
  }

  static bool NothingQuantized(const OutputPlan& plan) {
    return std::none_of(plan.tensors.begin(), plan.tensors.end(),
                        [](const TensorPlan& t) { return t.quantized; });
  }

  // Sizes from the smallest to the largest, at equal ratios.
  absl::Status AddFrontier(const OutputPlan& smallest, OutputPlan& plan) {
    std::vector<SizeChoice> frontier = {smallest.frontier[0]};
    const double least = static_cast<double>(std::max<int64_t>(LeastCost(), 1));
    const double most = static_cast<double>(Extreme(/*most=*/true));
    for (int i = 1; i < kFrontierSizes && most > least; ++i) {
      const double part = static_cast<double>(i) / (kFrontierSizes - 1);
      const auto budget =
          static_cast<int64_t>(std::ceil(least * std::pow(most / least, part)));
      const auto result = SolveKnapsack(choices_, budget);
      QUANT_ASSIGN_OR_RETURN(const OutputPlan other, LayOut(*result));
      frontier.push_back(other.frontier[0]);
    }
    plan.frontier[0].planned = true;
    frontier.push_back(plan.frontier[0]);
    std::sort(frontier.begin(), frontier.end(),
              [](const SizeChoice& a, const SizeChoice& b) {
                return std::make_tuple(a.total_bytes, !a.planned) <
                       std::make_tuple(b.total_bytes, !b.planned);
              });
    const auto same = [](const SizeChoice& a, const SizeChoice& b) {
      return a.total_bytes == b.total_bytes;
    };
    frontier.erase(std::unique(frontier.begin(), frontier.end(), same),
                   frontier.end());
    plan.frontier = std::move(frontier);
    return absl::OkStatus();
  }

  absl::Status Refuse(absl::string_view message) const {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, Reason::kPlanRefused,
        absl::StrCat("target ", TargetText(), ": ", message),
        target_.bytes > 0 ? "target_bytes" : "target_bits_per_weight");
  }

  absl::Status TooSmall(const OutputPlan& smallest) const {
    const std::string size =
        target_.bytes > 0
            ? absl::StrCat(smallest.total_bytes, " bytes (",
                           FormatBytes(smallest.total_bytes), ")")
            : absl::StrFormat("%.4f bits per weight", smallest.bits_per_weight);
    return Refuse(absl::StrCat(
        "the smallest that scheme \"", r_.request->scheme.name,
        "\" and its family reach for this model is ", size,
        "; ask for more, or let rules give other tensors a scheme"));
  }

  absl::Status NothingToDo(const OutputPlan& plan) const {
    return Refuse(absl::StrCat("the model takes ", plan.total_bytes, " bytes (",
                               FormatBytes(plan.total_bytes),
                               ") as it is: nothing needs to be quantized"));
  }

  static constexpr double kWorstLoss = 1e250;

  AllocationRequest r_;
  const SizeTarget target_;
  std::vector<AllocationItem> items_;
  std::vector<KnapsackItem> choices_;  // parallel to items_ and candidates
  double signal_ = 0;
};

}  // namespace

absl::StatusOr<OutputPlan> PlanForTarget(AllocationRequest request) {
  return Allocator(std::move(request)).Run();
}

int64_t AllocationBytes(int64_t names_bytes) {
  // The solver's states and nodes (knapsack.cc), and per tensor a dozen
  // candidates and a few more plans.
  return (int64_t{128} << 20) + 8 * names_bytes;
}

}  // namespace quant

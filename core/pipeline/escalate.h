// What is tried when a gate fails: the worst weights get the next scheme up.
//
// A step raises a quarter of the items (weights, or all parts of a merged
// module) that still can be, those of the greatest squared error relative to
// their squared values, from their scheme to the next larger member of its
// family (candidates.h), at last to what they are in the source. No step makes
// an output larger than its size target, or than a gate on its size allows.
#ifndef QUANT_CORE_PIPELINE_ESCALATE_H_
#define QUANT_CORE_PIPELINE_ESCALATE_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/pipeline/candidates.h"
#include "core/pipeline/execute.h"
#include "core/pipeline/plan.h"

namespace quant {

// A plan and what it was made for, from step to step.
class Escalation {
 public:
  // `source` outlives this. Steps that `file` says were taken from this plan
  // are taken again: plan() is then that of the last one.
  static absl::StatusOr<Escalation> Begin(const ModelReader& source,
                                          PlanRequest request, Plan plan,
                                          std::string file);

  const Plan& plan() const { return plan_; }

  // Raises the outputs that failed in `result`, which came of plan(), and notes
  // it in the file. False: nothing is left to be raised.
  absl::StatusOr<bool> Raise(const ExecuteResult& result, bool sync);

 private:
  Escalation(const ModelReader& source, PlanRequest request, Plan plan,
             std::string file)
      : source_(&source),
        request_(std::move(request)),
        plan_(std::move(plan)),
        base_(plan_.fingerprint),
        file_(std::move(file)) {}

  absl::Status TakeUp();
  absl::Status Keep(bool sync) const;

  const ModelReader* source_;
  PlanRequest request_;
  Plan plan_;
  std::string base_;  // fingerprint of the first plan
  std::string file_;
};

// The open items of an output: what steps may raise. `model` is the viewed one.
absl::StatusOr<std::vector<AllocationItem>> ItemsOf(const ModelReader& model,
                                                    const OutputPlan& output);

// What steps may come to, for bounds: every open item at the top of its family,
// and every one as it is in the source.
absl::StatusOr<std::vector<PlanRequest>> TopRequests(const ModelReader& source,
                                                     const PlanRequest& request,
                                                     const Plan& plan);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_ESCALATE_H_

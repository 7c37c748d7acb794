#include "core/pipeline/run.h"

#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/pipeline/escalate.h"

namespace quant {
namespace {

// Nobody knows how many steps there will be: each gets half of what is left of
// the progress.
ExecuteOptions WithPart(const ExecuteOptions& options, int step) {
  ExecuteOptions part = options;
  if (!options.progress) return part;
  part.progress = [step,
                   report = options.progress](const ProgressUpdate& update) {
    ProgressUpdate whole = update;
    whole.fraction = 1 - std::ldexp(1 - update.fraction / 2, -step);
    report(whole);
  };
  return part;
}

constexpr char kStartedOver[] =
    "what an earlier attempt left is of another plan, version or instruction "
    "set and was not used: started over";

absl::StatusOr<ExecuteResult> RunSteps(const ModelReader& model,
                                       const PlanRequest& request,
                                       const Plan& plan,
                                       const ExecuteOptions& options) {
  PlanRequest asked = request;
  // Steps are planned where the work is done.
  asked.pool = options.pool;
  QUANT_RETURN_IF_ERROR(MakeDirectories(options.work_dir));
  QUANT_ASSIGN_OR_RETURN(
      Escalation escalation,
      Escalation::Begin(model, std::move(asked), plan,
                        JoinPath(options.work_dir, "escalation")));
  std::map<std::string, double> stage_seconds;
  bool started_over = false;
  for (int step = 0;; ++step) {
    QUANT_ASSIGN_OR_RETURN(
        ExecuteResult result,
        Execute(model, escalation.plan(), WithPart(options, step)));
    // Later steps replace their own former ones.
    if (step == 0) started_over = result.started_over;
    for (const auto& [stage, seconds] : result.stage_seconds) {
      stage_seconds[stage] += seconds;
    }
    QUANT_ASSIGN_OR_RETURN(const bool again,
                           escalation.Raise(result, options.sync));
    if (again) continue;
    result.stage_seconds = stage_seconds;
    result.started_over = started_over;
    return result;
  }
}

}  // namespace

absl::StatusOr<ExecuteResult> RunPlanned(const ModelReader& model,
                                         const PlanRequest& request,
                                         const Plan& plan,
                                         const ExecuteOptions& options) {
  QUANT_ASSIGN_OR_RETURN(ExecuteResult result,
                         request.escalate
                             ? RunSteps(model, request, plan, options)
                             : Execute(model, plan, options));
  if (result.started_over) {
    result.notes.insert(result.notes.begin(), kStartedOver);
  }
  return result;
}

}  // namespace quant

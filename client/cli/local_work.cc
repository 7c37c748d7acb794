#include "client/cli/local_work.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/pipeline/request_files.h"
#include "core/recipe/recipe.h"

namespace quant::cli {

void ThreadFlag::Add(CLI::App& app) {
  app.add_option("--threads", threads_,
                 "Threads to work with [one per processor]")
      ->envname("QUANT_THREADS")
      ->check(CLI::Range(1, kMaxThreads));
}

int ThreadFlag::Get() const {
  if (threads_ > 0) return threads_;
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1,
                    kMaxThreads);
}

absl::StatusOr<LocalPlan> PlanHere(const std::string& model,
                                   const v1::JobSpec& spec, int threads,
                                   const RecipeFiles& files) {
  QUANT_ASSIGN_OR_RETURN(PlanRequest request, ToPlanRequest(spec, threads));
  if (!files.imatrix.empty()) {
    QUANT_RETURN_IF_ERROR(LoadImportance(files.imatrix, request));
  }
  LocalPlan out;
  QUANT_ASSIGN_OR_RETURN(out.model, OpenModel(model));
  if (!files.calibration.empty()) {
    QUANT_RETURN_IF_ERROR(LoadCalibration(
        *out.model, CalibrationOf(spec, files.calibration), request));
  }
  if (!files.evaluation.empty()) {
    QUANT_RETURN_IF_ERROR(LoadEvaluation(
        *out.model, EvaluationOf(spec, files.evaluation), request));
  }
  ThreadPool pool(NeedsPool(request) ? threads : 1);
  request.pool = &pool;
  QUANT_ASSIGN_OR_RETURN(out.plan, MakePlan(*out.model, request));
  request.pool = nullptr;
  out.request = std::move(request);
  return out;
}

}  // namespace quant::cli

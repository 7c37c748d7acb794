// Everything the server answers from the core without a job: plans and
// validation, what is in a model, one tensor's codes, capabilities. Knows
// neither gRPC nor the queue. Calls may read files and compute: not for gRPC
// callbacks. Thread-safe.
#ifndef QUANT_SERVER_PLANNER_PLANNER_H_
#define QUANT_SERVER_PLANNER_PLANNER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "quant/v1/catalog.pb.h"
#include "quant/v1/job.pb.h"
#include "quant/v1/model.pb.h"
#include "quant/v1/tensor.pb.h"
#include "server/planner/plan_cache.h"
#include "server/planner/source_resolver.h"

namespace quant {

struct PlannerOptions {
  std::vector<std::string> model_roots;
  // Of a worker, for memory bounds; and of InspectModel with dtypes.
  int threads = 1;
  size_t cache_entries = 256;
  int64_t cache_bytes = 64 << 20;
  // The directory of a complete upload, by id. Required.
  std::function<absl::StatusOr<std::string>(const std::string& id)>
      upload_directory;
};

class Planner {
 public:
  static absl::StatusOr<std::unique_ptr<Planner>> Create(
      PlannerOptions options);

  // Where the model is, links resolved, checked as the proto's Source says:
  // INVALID_ARGUMENT INVALID_SPEC, SOURCE_NOT_ALLOWED, FAILED_PRECONDITION
  // SOURCE_MISSING. Errors blame "source...".
  absl::StatusOr<std::string> ResolveSource(const v1::Source& source) const;

  // The plan of a spec that was planned before, while its source is unchanged;
  // null otherwise. Costs a few stat calls.
  std::shared_ptr<const PlannedSpec> Cached(const v1::JobSpec& spec);

  // Checks a spec against registry and source. Fields of errors are relative
  // to the spec. Errors as JobService.CreateJob documents them.
  absl::StatusOr<std::shared_ptr<const PlannedSpec>> Plan(
      const v1::JobSpec& spec);

  absl::StatusOr<v1::ModelInfo> InspectModel(
      const v1::InspectModelRequest& request) const;
  absl::StatusOr<v1::QuantizeTensorResponse> QuantizeTensor(
      const v1::QuantizeTensorRequest& request) const;
  v1::Capabilities Capabilities() const;

 private:
  Planner(PlannerOptions options, SourceResolver resolver);
  // What tells two states of a spec's sources apart; `path`: its model.
  absl::StatusOr<std::string> Identity(const v1::JobSpec& spec,
                                       const std::string& path) const;
  // Resolved, but its links not checked.
  absl::StatusOr<std::string> Locate(const v1::Source& source) const;

  const PlannerOptions options_;
  const SourceResolver resolver_;
  PlanCache cache_;
};

}  // namespace quant

#endif  // QUANT_SERVER_PLANNER_PLANNER_H_

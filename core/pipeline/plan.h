// A plan is a promise: what each source tensor becomes, where every byte goes,
// how much memory and disk it takes. Made from headers alone, unless a size is
// to be met or codes are kept.
#ifndef QUANT_CORE_PIPELINE_PLAN_H_
#define QUANT_CORE_PIPELINE_PLAN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/artifact/format.h"
#include "core/artifact/quantized_model.h"
#include "core/container/model_reader.h"
#include "core/pipeline/request.h"

namespace quant {

// A file of the artifact with its exact size.
struct PlannedFile {
  std::string path;
  int64_t size_bytes = 0;
};

// What one output makes of one source tensor.
struct TensorPlan {
  int source = 0;  // index into ModelReader::tensors() of the viewed model
  std::string role;
  bool quantized = false;   // false: copied as it is
  Scheme scheme;            // when quantized
  std::string method;       // when quantized
  bool calibrated = false;  // codes come from the calibrated stage
  // Columns are multiplied by factors that the calibrated stage finds.
  bool scaled = false;
  // Rows, or what is copied of a norm or a bias, are divided by those of
  // weights that read what this makes.
  bool divided = false;
  std::string reason;  // never empty
  int64_t output_bytes = 0;
  std::vector<OutputTensor> outputs;  // placed: file and offset are set
  // Source tensors, itself included, whose statistics are taken together: the
  // parts of a merged module that share a scale. Empty: only its own.
  std::vector<int> measured_with;
  // With static activations: largest magnitudes of inputs, [I]. Set while the
  // plan is carried out (input_survey.h).
  std::shared_ptr<const std::vector<float>> inputs = nullptr;
};

// A way to give schemes to tensors under a size target: the least error for its
// size.
struct SizeChoice {
  int64_t total_bytes = 0;
  double bits_per_weight = 0;
  // Estimated squared error of the tensors that the target decides about,
  // relative to their squared values.
  double relative_error = 0;
  bool planned = false;  // this is the plan
};

struct OutputPlan {
  OutputRequest request;
  std::vector<TensorPlan> tensors;   // parallel to Plan::order
  ArtifactLayout layout;             // files, headers, side files
  std::vector<PlannedFile> reports;  // those of reports.h, when asked for
  std::vector<PlannedFile> files;    // all files, sorted by path
  int64_t total_bytes = 0;
  double bits_per_weight = 0;
  std::vector<SizeChoice> frontier;      // with a target: by ascending size
  std::vector<LoaderNote> loader_notes;  // with a loader
};

// A source tensor that the outputs have no place for.
struct DroppedTensor {
  std::string name;
  std::string reason;
};

struct Plan {
  // The source under the names and shapes of the outputs' format, or null when
  // they are its own. Refers to the model that was planned. Shared, because
  // plans are copied and cached.
  std::shared_ptr<const ModelReader> view;
  // The view, when its codes are carried over as they are; else null.
  const QuantizedModel* codes = nullptr;
  std::vector<OutputPlan> outputs;
  std::vector<int> order;  // source tensors, in the order of processing
  // Null: the outputs are not evaluated.
  std::shared_ptr<const EvaluationText> evaluation;
  std::vector<Gate> gates;
  std::vector<DroppedTensor> dropped;  // what the view has no place for
  // What the outputs lack of the source otherwise, for people.
  std::vector<std::string> notes;
  int64_t memory_bound_bytes = 0;
  int64_t disk_bound_bytes = 0;
  int64_t source_bytes = 0;
  std::string fingerprint;  // 32 hex digits
};

// The model that a plan's tensors are of.
inline const ModelReader& ViewedModel(const ModelReader& model,
                                      const Plan& plan) {
  return plan.view ? *plan.view : model;
}

// Reads headers and config only, and with a size target a sample of the
// weights, and where codes are kept their scales and zero points.
// INVALID_ARGUMENT for recipes that can't be; FAILED_PRECONDITION PLAN_REFUSED
// when the model does not fit the recipe (all misfits listed), or is quantized
// already.
absl::StatusOr<Plan> MakePlan(const ModelReader& model,
                              const PlanRequest& request);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_PLAN_H_

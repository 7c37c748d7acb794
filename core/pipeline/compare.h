// How far the weights of two models are apart, tensor by tensor. Streams:
// memory does not depend on the models' sizes.
#ifndef QUANT_CORE_PIPELINE_COMPARE_H_
#define QUANT_CORE_PIPELINE_COMPARE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/thread_pool.h"
#include "core/pipeline/value_model.h"

namespace quant {

// Sums over the values of one tensor; r are the reference's, o the other's.
struct ValueDifference {
  double signal = 0;  // sum of r^2
  double noise = 0;   // sum of (o - r)^2; infinite where only one is finite
  double max_abs_error = 0;
  int64_t different = 0;  // values that are not equal; NaNs equal each other
  int64_t total = 0;

  void Add(const ValueDifference& other);
  // 10 log10(signal / noise); +inf without noise.
  double sqnr_db() const;
};

struct TensorDifference {
  std::string name;
  Shape shape;
  StoredAs reference, other;
  ValueDifference values;
};

struct ModelDifference {
  std::vector<TensorDifference> tensors;  // worst first, then by name
  std::vector<std::string> only_in_reference;
  std::vector<std::string> only_in_other;
  ValueDifference values;  // of all tensors
};

// Matches tensors by name. INVALID_ARGUMENT INVALID_SPEC for models without a
// common tensor, or whose tensors of one name have different shapes. The
// results do not depend on the number of threads.
absl::StatusOr<ModelDifference> CompareModels(const ValueModel& reference,
                                              const ValueModel& other,
                                              ThreadPool& pool);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_COMPARE_H_

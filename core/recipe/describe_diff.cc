// describe.h: how far two models are apart.
#include <cmath>

#include "core/base/status_macros.h"
#include "core/pipeline/compare.h"
#include "core/recipe/describe.h"

namespace quant {
namespace {

void Fill(const TensorDifference& tensor, v1::TensorDiff& out) {
  out.set_name(tensor.name);
  for (int64_t dimension : tensor.shape) out.add_shape(dimension);
  out.set_reference_type(tensor.reference.type);
  out.set_other_type(tensor.other.type);
  out.set_reference_bytes(tensor.reference.bytes);
  out.set_other_bytes(tensor.other.bytes);
  const ValueDifference& values = tensor.values;
  if (values.total > 0) {
    out.set_bits_per_weight(8.0 * static_cast<double>(tensor.other.bytes) /
                            static_cast<double>(values.total));
  }
  if (values.noise > 0) out.set_sqnr_db(values.sqnr_db());
  out.set_max_abs_error(values.max_abs_error);
  out.set_different_count(values.different);
  out.set_total_count(values.total);
}

int64_t BytesOf(const ModelReader& model) {
  int64_t bytes = 0;
  for (const TensorEntry& tensor : model.tensors()) bytes += tensor.bytes;
  return bytes;
}

}  // namespace

absl::StatusOr<v1::ModelDiff> DescribeDiff(const std::string& reference,
                                           const std::string& other,
                                           ThreadPool& pool) {
  QUANT_ASSIGN_OR_RETURN(ValueModel left, ValueModel::Open(reference));
  QUANT_ASSIGN_OR_RETURN(ValueModel right, ValueModel::Open(other));
  if (right.is_gguf() && !left.is_gguf()) {
    QUANT_RETURN_IF_ERROR(left.ShowAsGguf());
  } else if (left.is_gguf() && !right.is_gguf()) {
    QUANT_RETURN_IF_ERROR(right.ShowAsGguf());
  }
  QUANT_ASSIGN_OR_RETURN(const ModelDifference difference,
                         CompareModels(left, right, pool));
  v1::ModelDiff diff;
  diff.set_reference(reference);
  diff.set_other(other);
  for (const TensorDifference& tensor : difference.tensors) {
    Fill(tensor, *diff.add_tensors());
  }
  for (const std::string& name : difference.only_in_reference) {
    diff.add_only_in_reference(name);
  }
  for (const std::string& name : difference.only_in_other) {
    diff.add_only_in_other(name);
  }
  if (difference.values.noise > 0) {
    diff.set_sqnr_db(difference.values.sqnr_db());
  }
  diff.set_reference_bytes(BytesOf(left.stored()));
  diff.set_other_bytes(BytesOf(right.stored()));
  return diff;
}

}  // namespace quant

// What each number type can hold: the table behind `inspect --dtypes`.
#ifndef QUANT_CORE_TENSOR_DTYPE_INFO_H_
#define QUANT_CORE_TENSOR_DTYPE_INFO_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quant {

// Range, precision and spacing of one type. Integers are taken without a scale.
struct NumberTypeInfo {
  absl::string_view name;  // "FP32", "BF16", "FP16", "FP8_E4M3", "INT4", ...
  int bits;
  double max;             // largest finite value
  double min_normal;      // smallest positive normal; 0 for integers
  double min_positive;    // smallest positive value
  double decimal_digits;  // significant decimal digits that always survive
  double spacing_at_one;  // distance from 1 to the next larger value
};

// FP32, BF16, FP16, FP8_E4M3, FP8_E5M2, INT8, INT4.
absl::Span<const NumberTypeInfo> NumberTypes();

// Counts of what a plain conversion to each of NumberTypes() would lose.
struct DtypeLoss {
  int64_t overflow = 0;   // |x| rounds beyond the type's largest value
  int64_t underflow = 0;  // x != 0 rounds to 0
};

// Adds `values` (finite) to `losses`, one entry per NumberTypes().
void CountLosses(absl::Span<const float> values, absl::Span<DtypeLoss> losses);

}  // namespace quant

#endif  // QUANT_CORE_TENSOR_DTYPE_INFO_H_

// The first transform of every weight: source bytes to float32 rows, with the
// policy for NaN and infinities.
#ifndef QUANT_CORE_TRANSFORM_LOAD_ROWS_H_
#define QUANT_CORE_TRANSFORM_LOAD_ROWS_H_

#include <cstdint>

#include "absl/types/span.h"
#include "core/tensor/dtype.h"

namespace quant {

enum class Nonfinite { kError, kZero };

struct LoadResult {
  // Index of the first value that is not finite; -1 = all are. With kError the
  // output is then not to be used.
  int64_t first_nonfinite = -1;
  // With kZero: how many were mapped to zero.
  int64_t zeroed = 0;
};

// bytes: out.size() elements of `dtype` (F16, BF16, F32, F64). A finite F64
// beyond float32's range counts as not finite.
LoadResult LoadRows(DType dtype, absl::Span<const uint8_t> bytes,
                    Nonfinite policy, absl::Span<float> out);

// The same for weights that are copied: with kZero, elements of `bytes` that
// are not finite become zero in place.
LoadResult ScrubNonfinite(DType dtype, Nonfinite policy,
                          absl::Span<uint8_t> bytes);

}  // namespace quant

#endif  // QUANT_CORE_TRANSFORM_LOAD_ROWS_H_

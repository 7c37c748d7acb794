// Scales and zero points of many groups at once: the rule of
// core/codec/int_codec.cc, whose FromRange is the twin, equal bit for bit.
#ifndef QUANT_CORE_KERNELS_INT_SCALES_H_
#define QUANT_CORE_KERNELS_INT_SCALES_H_

#include <cstdint>

#include "core/tensor/dtype.h"

namespace quant {

struct IntScaleRule {
  bool symmetric = true;
  int q_min = 0;
  int q_max = 0;
  DType scale_type = DType::kF32;  // F16, BF16 or F32
};

// lo, hi [n] finite -> scales [n], and zeros [n] unless symmetric. A scale that
// is not an ordinary number of its type (the range is empty, or nearly so, or
// enormous) becomes 0: the caller asks the twin.
void IntScales(const IntScaleRule& rule, const float* lo, const float* hi,
               int64_t n, float* scales, int8_t* zeros);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_INT_SCALES_H_

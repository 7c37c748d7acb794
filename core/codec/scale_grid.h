// Scales of floating-point codes, by the kind of scale.
//
//   kFloat   s = largest / greatest code, rounded upwards to the stored type
//   kE8M0    s = 2^(floor(log2(r)) - e): r is the largest magnitude, raised to
//            the next power of two from 1.75 of the one below on; e = 2 for FP4
//            and 8 for E4M3. (Source: compressed-tensors; the plain rule of OCP
//            MX 1.0 does not raise.) Values of up to 1.75 * 2^e are clipped to
//            the greatest code.
//   kE4M3    s = v / t, v = the FP8 E4M3 value nearest to t * largest /
//            greatest code (upwards where E4M3 has fewer than four bits, so
//            that its groups are still covered); t: the tensor scale
//            448 * greatest code / largest of the tensor. (Source: as above.)
//   kNested  s as kFloat in F32; rounded to the nested grid afterwards.
#ifndef QUANT_CORE_CODEC_SCALE_GRID_H_
#define QUANT_CORE_CODEC_SCALE_GRID_H_

#include "core/codec/codec.h"

namespace quant {

struct CodeRange {
  float largest = 0;        // |x| that is to be covered; finite, >= 0
  float greatest_code = 1;  // at scale 1
};

// > 0 and finite; for largest = 0 a scale that does no harm.
float ScaleOnGrid(ScaleKind kind, const CodeRange& range, ScaleType type);

// The tensor scale of kE4M3. 1 for a tensor of zeros.
float E4m3TensorScale(float largest, float greatest_code);

}  // namespace quant

#endif  // QUANT_CORE_CODEC_SCALE_GRID_H_

// What an error in each value of a row weighs, from the importance of inputs.
#ifndef QUANT_CORE_KERNELS_VALUE_WEIGHTS_H_
#define QUANT_CORE_KERNELS_VALUE_WEIGHTS_H_

#include <cstdint>

namespace quant {

// x [n] finite, importance [n] >= 0 (mean square of the input of each column):
//
//   weights[i] = importance[i] sqrt(1 + x[i]^2 / mean(x^2))
//
// or, of a row of (almost) zeros, the importance alone.
// Importance alone would give the least squared error of the outputs if inputs
// were uncorrelated. The factor leans towards large values, of which outputs
// consist; llama.cpp's quantizer has it too, and models diverge less with it
// (docs/evidence/llama_cpp.md). Bit-equal on every target.
void WeighValues(const float* x, const float* importance, int64_t n,
                 float* weights);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_VALUE_WEIGHTS_H_

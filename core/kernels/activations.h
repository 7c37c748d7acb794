// What networks do to single numbers between products of matrices.
//
// The exponential is ours: within 2 units in the last place of the true one, by
// products and sums that every target rounds alike, so that results are the
// same bits on all of them. Source: Cody and Waite, "Software Manual for the
// Elementary Functions", 1980: reduction to |r| <= ln 2 / 2 in two parts, then
// a polynomial. Below e^-87 it is 0, above e^88 it stays that. NaN stays NaN.
#ifndef QUANT_CORE_KERNELS_ACTIVATIONS_H_
#define QUANT_CORE_KERNELS_ACTIVATIONS_H_

#include <cstdint>

namespace quant {

// x [n] becomes e^(x - max) / sum of those. The sum goes over 16 virtual lanes,
// element i in lane i % 16.
void Softmax(float* x, int64_t n);

// out[i] = gate[i] / (1 + e^-gate[i]) * up[i]
// Source: Elfwing et al., "Sigmoid-Weighted Linear Units", 2018.
void SiluTimes(const float* gate, const float* up, int64_t n, float* out);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_ACTIVATIONS_H_

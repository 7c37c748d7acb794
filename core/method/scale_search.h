// The scale rule mse: of ranges [p lo, p hi] around the one that covers, the
// one with the least sum of (x_hat - x)^2. p = 1 is tried first and kept on
// ties, so the result is never worse than minmax. Errors are measured with the
// stored (rounded) scale.
#ifndef QUANT_CORE_METHOD_SCALE_SEARCH_H_
#define QUANT_CORE_METHOD_SCALE_SEARCH_H_

#include <cstdint>

#include "core/method/method.h"

namespace quant {

// Ranges that are tried. Low-bit symmetric grids are lopsided (-2..1 for 2
// bits), so their best range can be far below and slightly above the full one.
// The step of 2 % was chosen because halving it changed the squared error of
// normal and Laplace weights by less than 0.1 %.
inline constexpr int kScaleCandidates = 36;

// A rectangle of weights that share a scale.
struct Cell {
  const float* x = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;  // elements between rows
  float lo = 0;        // its range
  float hi = 0;
};

// The scale of candidate 0 .. kScaleCandidates - 1 for a range.
ScaleZero ScaleCandidate(const Codec& codec, ScaleType type, float lo, float hi,
                         int candidate);

// Sum of (x_hat - x)^2 over a cell.
double CellNoise(const Codec& codec, bool narrow, const Cell& cell,
                 ScaleZero scale, MethodScratch& scratch);

ScaleZero BestScale(const Codec& codec, bool narrow, ScaleType type,
                    const Cell& cell, MethodScratch& scratch);

}  // namespace quant

#endif  // QUANT_CORE_METHOD_SCALE_SEARCH_H_

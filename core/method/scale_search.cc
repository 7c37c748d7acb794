#include "core/method/scale_search.h"

#include <algorithm>
#include <limits>

namespace quant {
namespace {

double RatioOf(int candidate) {
  if (candidate == 0) return 1.0;
  // 1.10, 1.08, 1.06, 1.04, 1.02, 0.98, 0.96, ... 0.40
  const double ratio = 1.12 - 0.02 * candidate;
  return candidate <= 5 ? ratio : ratio - 0.02;
}

float Finite(float value) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  return std::clamp(value, -kLargest, kLargest);
}

}  // namespace

ScaleZero ScaleCandidate(const Codec& codec, ScaleType type, float lo, float hi,
                         int candidate) {
  const float ratio = static_cast<float>(RatioOf(candidate));
  return codec.FromRange(Finite(lo * ratio), Finite(hi * ratio), type);
}

double CellNoise(const Codec& codec, bool narrow, const Cell& cell,
                 ScaleZero scale, MethodScratch& scratch) {
  scratch.codes.resize(std::max<size_t>(scratch.codes.size(), cell.cols));
  const RowScales scales{.group = cell.cols,
                         .scales = &scale.scale,
                         .zeros = codec.has_zeros() ? &scale.zero : nullptr,
                         .narrow = narrow};
  LaneSums sums;
  for (int64_t r = 0; r < cell.rows; ++r) {
    codec.EncodeRow(cell.x + r * cell.stride, cell.cols, scales,
                    scratch.codes.data(), sums);
  }
  return CombineLanes(sums.noise);
}

ScaleZero BestScale(const Codec& codec, bool narrow, ScaleType type,
                    const Cell& cell, MethodScratch& scratch) {
  ScaleZero best = codec.FromRange(cell.lo, cell.hi, type);
  if (cell.lo == 0 && cell.hi == 0) return best;
  double least = CellNoise(codec, narrow, cell, best, scratch);
  for (int i = 1; i < kScaleCandidates; ++i) {
    const ScaleZero candidate =
        ScaleCandidate(codec, type, cell.lo, cell.hi, i);
    const double noise = CellNoise(codec, narrow, cell, candidate, scratch);
    if (noise < least) {
      least = noise;
      best = candidate;
    }
  }
  return best;
}

}  // namespace quant

#include "core/kernels/gptq_block.h"

#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/gptq_block.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, kGptqRows>;
using VF = hn::Vec<DF>;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(DF()));
// Sums that do not wait for each other.
constexpr int kChains = kGptqRows / kLanes >= 4 ? kGptqRows / kLanes : 4;

// v of `kCount` registers of rows, from row `first` on.
template <int kCount>
HWY_INLINE void Corrected(const GptqBlock& block, int64_t column, int64_t first,
                          const float* w, const float* deltas,
                          VF (&v)[kCount]) {
  const DF d;
  const int64_t at = column * block.rows + first;
  for (int k = 0; k < kCount; ++k) v[k] = hn::LoadU(d, w + at + k * kLanes);
  const float* s = block.s + column * block.s_stride;
  for (int64_t j = 0; j < column; ++j) {
    const VF factor = hn::Set(d, s[j]);
    const float* delta = deltas + j * block.rows + first;
    for (int k = 0; k < kCount; ++k) {
      v[k] = hn::Add(v[k], hn::Mul(factor, hn::LoadU(d, delta + k * kLanes)));
    }
  }
}

template <int kCount>
HWY_INLINE void RunRows(const GptqBlock& block, const float* original,
                        int64_t first, const float* w, float* deltas,
                        int8_t* codes) {
  const DF d;
  const hn::Rebind<int8_t, DF> d8;
  const hn::Rebind<int32_t, DF> d32;
  const VF least = hn::Set(d, static_cast<float>(block.q_min));
  const VF most = hn::Set(d, static_cast<float>(block.q_max));
  VF v[kCount];
  for (int64_t i = 0; i < block.columns; ++i) {
    Corrected<kCount>(block, i, first, w, deltas, v);
    const int64_t group = block.groups[i] * block.rows + first;
    for (int k = 0; k < kCount; ++k) {
      const int64_t at = i * block.rows + first + k * kLanes;
      const VF scale = hn::LoadU(d, block.scales + group + k * kLanes);
      const VF zero = hn::LoadU(d, block.zeros + group + k * kLanes);
      const VF rounded = hn::Round(hn::Div(v[k], scale));
      const VF q = hn::Min(hn::Max(hn::Add(rounded, zero), least), most);
      const VF back = hn::Mul(hn::Sub(q, zero), scale);
      hn::StoreU(hn::Sub(hn::LoadU(d, original + at), back), d, deltas + at);
      hn::StoreU(hn::DemoteTo(d8, hn::ConvertTo(d32, q)), d8, codes + at);
    }
  }
}

void RunGptqBlockImpl(const GptqBlock& block, const float* original,
                      const float* w, float* deltas, int8_t* codes) {
  constexpr int64_t kMany = kChains * kLanes;
  constexpr int kFew = kGptqRows / kLanes;
  int64_t first = 0;
  for (; first + kMany <= block.rows; first += kMany) {
    RunRows<kChains>(block, original, first, w, deltas, codes);
  }
  for (; first < block.rows; first += kGptqRows) {
    RunRows<kFew>(block, original, first, w, deltas, codes);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {

HWY_EXPORT(RunGptqBlockImpl);

void RunGptqBlock(const GptqBlock& block, const float* original, const float* w,
                  float* deltas, int8_t* codes) {
  HWY_DYNAMIC_DISPATCH(RunGptqBlockImpl)(block, original, w, deltas, codes);
}

}  // namespace quant
#endif  // HWY_ONCE

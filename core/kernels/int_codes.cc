#include "core/kernels/int_codes.h"

#include <algorithm>

#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/int_codes.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/int_blocks-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

void EncodeIntRowImpl(const IntRow& row, const float* x, int8_t* codes,
                      LaneSums& sums) {
  EncodeRow<FloatSource>(row, x, codes, sums);
}

void DecodeIntRowImpl(const IntRow& row, const int8_t* codes, float* out) {
  const DF df;
  const DI di;
  const hn::Rebind<int8_t, DI> di8;
  for (int64_t begin = 0, g = 0; begin < row.n; begin += row.group, ++g) {
    const int64_t end = std::min(begin + row.group, row.n);
    const int zero = row.zero_points ? row.zero_points[g] : 0;
    const float scale = row.scales[g];
    int64_t i = begin;
    for (; i + kFloatLanes <= end; i += kFloatLanes) {
      const auto q = hn::PromoteTo(di, hn::LoadU(di8, codes + i));
      const VF value = hn::ConvertTo(df, hn::Sub(q, hn::Set(di, zero)));
      hn::StoreU(hn::Mul(value, hn::Set(df, scale)), df, out + i);
    }
    for (; i < end; ++i) {
      out[i] = static_cast<float>(codes[i] - zero) * scale;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {

HWY_EXPORT(EncodeIntRowImpl);
HWY_EXPORT(DecodeIntRowImpl);

void EncodeIntRow(const IntRow& row, const float* x, int8_t* codes,
                  LaneSums& sums) {
  HWY_DYNAMIC_DISPATCH(EncodeIntRowImpl)(row, x, codes, sums);
}

void DecodeIntRow(const IntRow& row, const int8_t* codes, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeIntRowImpl)(row, codes, out);
}

}  // namespace quant
#endif  // HWY_ONCE

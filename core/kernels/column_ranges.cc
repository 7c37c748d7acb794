#include "core/kernels/column_ranges.h"

#include <algorithm>

#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/column_ranges.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/accumulate-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

void AddColumnRangesImpl(const float* x, int64_t n, float* lo, float* hi,
                         double* squares) {
  const DF df;
  const DD dd;
  int64_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) {
    const VF value = hn::LoadU(df, x + i);
    const VF least = hn::LoadU(df, lo + i), most = hn::LoadU(df, hi + i);
    hn::StoreU(hn::IfThenElse(hn::Lt(value, least), value, least), df, lo + i);
    hn::StoreU(hn::IfThenElse(hn::Gt(value, most), value, most), df, hi + i);
    for (int64_t j = i; j < i + kFloatLanes; j += kDoubleLanes) {
      const VD wide = hn::PromoteTo(dd, hn::LoadU(DH(), x + j));
      hn::StoreU(hn::MulAdd(wide, wide, hn::LoadU(dd, squares + j)), dd,
                 squares + j);
    }
  }
  for (; i < n; ++i) {
    lo[i] = std::min(lo[i], x[i]);
    hi[i] = std::max(hi[i], x[i]);
    squares[i] += static_cast<double>(x[i]) * x[i];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {

HWY_EXPORT(AddColumnRangesImpl);

void AddColumnRanges(const float* x, int64_t n, float* lo, float* hi,
                     double* squares) {
  HWY_DYNAMIC_DISPATCH(AddColumnRangesImpl)(x, n, lo, hi, squares);
}

}  // namespace quant
#endif  // HWY_ONCE

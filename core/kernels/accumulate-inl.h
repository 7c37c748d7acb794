// Error sums in registers, for the kernels of every target. Included once per
// target by each kernel file (hence the toggled guard).
#if defined(QUANT_CORE_KERNELS_ACCUMULATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANT_CORE_KERNELS_ACCUMULATE_INL_H_
#undef QUANT_CORE_KERNELS_ACCUMULATE_INL_H_
#else
#define QUANT_CORE_KERNELS_ACCUMULATE_INL_H_
#endif

#include "core/kernels/lane_sums.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, kVirtualLanes>;
using DI = hn::RebindToSigned<DF>;
using DU = hn::RebindToUnsigned<DF>;
using DH = hn::Half<DF>;
using DD = hn::Rebind<double, DH>;
using VF = hn::Vec<DF>;
using VD = hn::Vec<DD>;

constexpr int kFloatLanes = static_cast<int>(hn::MaxLanes(DF()));
constexpr int kRegisters = kVirtualLanes / kFloatLanes;
// A vector of floats becomes two of doubles, or one where it has one lane.
constexpr int kParts = kFloatLanes > 1 ? 2 : 1;
constexpr int kDoubleLanes = kFloatLanes / kParts;

// The sums of one row. Register r holds virtual lanes r * kFloatLanes and on.
struct Accumulators {
  VD noise[kParts * kRegisters];
  VD signal[kParts * kRegisters];
  VF max_error;

  explicit Accumulators(const LaneSums& sums) {
    for (int r = 0; r < kParts * kRegisters; ++r) {
      noise[r] = hn::LoadU(DD(), sums.noise + r * kDoubleLanes);
      signal[r] = hn::LoadU(DD(), sums.signal + r * kDoubleLanes);
    }
    max_error = hn::Set(DF(), sums.max_abs_error);
  }

  void Store(LaneSums& sums) const {
    for (int r = 0; r < kParts * kRegisters; ++r) {
      hn::StoreU(noise[r], DD(), sums.noise + r * kDoubleLanes);
      hn::StoreU(signal[r], DD(), sums.signal + r * kDoubleLanes);
    }
    sums.max_abs_error = hn::GetLane(hn::MaxOfLanes(DF(), max_error));
  }

  // Adds register r of a block: the value and the error of its code.
  HWY_INLINE void Add(int r, VF value, VF error) {
    AddSquares(error, noise + kParts * r);
    AddSquares(value, signal + kParts * r);
    max_error = hn::Max(max_error, hn::Abs(error));
  }

 private:
  static HWY_INLINE void AddSquares(VF v, VD* sums) {
    const VD low = hn::PromoteTo(DD(), hn::LowerHalf(DH(), v));
    sums[0] = hn::Add(sums[0], hn::Mul(low, low));
#if HWY_TARGET != HWY_SCALAR
    const VD high = hn::PromoteTo(DD(), hn::UpperHalf(DH(), v));
    sums[1] = hn::Add(sums[1], hn::Mul(high, high));
#endif
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

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

  // The same for n elements in memory, a multiple of 16. x86 promotes half a
  // register in one operation when it loads it, in three when it is there.
  HWY_INLINE void AddAll(const float* values, const float* errors, int64_t n) {
    for (int64_t i = 0; i < n; i += kVirtualLanes) {
      for (int p = 0; p < kParts * kRegisters; ++p) {
        const int64_t at = i + p * kDoubleLanes;
        AddSquare(hn::PromoteTo(DD(), hn::LoadU(DH(), errors + at)), noise[p]);
        AddSquare(hn::PromoteTo(DD(), hn::LoadU(DH(), values + at)), signal[p]);
      }
      for (int r = 0; r < kRegisters; ++r) {
        const VF error = hn::LoadU(DF(), errors + i + r * kFloatLanes);
        max_error = hn::Max(max_error, hn::Abs(error));
      }
    }
  }

 private:
  static HWY_INLINE void AddSquares(VF v, VD* sums) {
    AddSquare(hn::PromoteTo(DD(), hn::LowerHalf(DH(), v)), sums[0]);
#if HWY_TARGET != HWY_SCALAR
    AddSquare(hn::PromoteTo(DD(), hn::UpperHalf(DH(), v)), sums[1]);
#endif
  }

  // The square of a promoted float is exact: it does not matter whether the CPU
  // fuses the multiplication with the addition.
  static HWY_INLINE void AddSquare(VD v, VD& sum) {
    sum = hn::MulAdd(v, v, sum);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

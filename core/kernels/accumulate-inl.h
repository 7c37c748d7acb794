// Error sums in registers, for the kernels of every target. Included once per
// target by each kernel file (hence the toggled guard).
#if defined(QUANT_CORE_KERNELS_ACCUMULATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANT_CORE_KERNELS_ACCUMULATE_INL_H_
#undef QUANT_CORE_KERNELS_ACCUMULATE_INL_H_
#else
#define QUANT_CORE_KERNELS_ACCUMULATE_INL_H_
#endif

#include <algorithm>
#include <cstdint>

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

// The sums of one run (lane_sums.h) in float. Products are rounded before they
// are added: on targets that could fuse both as on those that can't.
struct RunSums {
  VF noise[kRegisters];
  VF signal[kRegisters];
  VF max_noise = hn::Zero(DF());  // the largest square of an error

  HWY_INLINE RunSums() {
    for (int r = 0; r < kRegisters; ++r) noise[r] = signal[r] = max_noise;
  }

  // Adds register r of 16 elements: their values and the errors of their codes.
  HWY_INLINE void Add(int r, VF value, VF error) {
    const VF square = hn::Mul(error, error);
    noise[r] = hn::Add(noise[r], square);
    signal[r] = hn::Add(signal[r], hn::Mul(value, value));
    max_noise = hn::Max(max_noise, square);
  }

  // Whether no square can have left the range of float, nor lost digits that
  // count at the bottom of it.
  HWY_INLINE bool Hold() const {
    VF least = hn::Min(noise[0], signal[0]),
       most = hn::Max(noise[0], signal[0]);
    for (int r = 1; r < kRegisters; ++r) {
      least = hn::Min(least, hn::Min(noise[r], signal[r]));
      most = hn::Max(most, hn::Max(noise[r], signal[r]));
    }
    return hn::AllTrue(DF(), hn::And(hn::Ge(least, hn::Set(DF(), kLeastRunSum)),
                                     hn::Le(most, hn::Set(DF(), kMostRunSum))));
  }
};

// The sums of one row. Register r holds virtual lanes r * kFloatLanes and on.
struct Accumulators {
  VD noise[kParts * kRegisters];
  VD signal[kParts * kRegisters];
  VF max_error;
  VF max_noise = hn::Zero(DF());  // of runs

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
    // The root of a rounded square is what was squared: in binary, and where
    // runs hold.
    const VF largest = hn::Max(max_error, hn::Sqrt(max_noise));
    sums.max_abs_error = hn::GetLane(hn::MaxOfLanes(DF(), largest));
  }

  // As RunSums::Add, in double. The square of a promoted float is exact: it
  // does not matter whether the CPU fuses it with the addition.
  HWY_INLINE void Add(int r, VF value, VF error) {
    ForParts(error, noise + kParts * r, [](VD e, VD& sum) QUANT_INLINE_LAMBDA {
      sum = hn::MulAdd(e, e, sum);
    });
    ForParts(value, signal + kParts * r, [](VD v, VD& sum) QUANT_INLINE_LAMBDA {
      sum = hn::MulAdd(v, v, sum);
    });
    max_error = hn::Max(max_error, hn::Abs(error));
  }

  HWY_INLINE void Add(const RunSums& run) {
    const auto add = [](VD v, VD& sum)
                         QUANT_INLINE_LAMBDA { sum = hn::Add(sum, v); };
    for (int r = 0; r < kRegisters; ++r) {
      ForParts(run.noise[r], noise + kParts * r, add);
      ForParts(run.signal[r], signal + kParts * r, add);
    }
    max_noise = hn::Max(max_noise, run.max_noise);
  }

 private:
  template <class Function>
  static HWY_INLINE void ForParts(VF v, VD* sums, const Function& function) {
    function(hn::PromoteTo(DD(), hn::LowerHalf(DH(), v)), sums[0]);
#if HWY_TARGET != HWY_SCALAR
    function(hn::PromoteTo(DD(), hn::UpperHalf(DH(), v)), sums[1]);
#endif
  }
};

// Rare, and out of line: two copies of an encoder need not share registers.
template <class Encode>
HWY_NOINLINE void AddInDouble(int64_t i, int64_t count, Accumulators& acc,
                              const Encode& encode) {
  encode(i, count, acc);
}

// encode(i, count, sums) for every run of n elements: elements i and on, whose
// values and errors it adds to `sums`. It is called again for a run whose sums
// need double.
template <class Encode>
HWY_INLINE void AddInRuns(int64_t n, Accumulators& acc, const Encode& encode) {
  for (int64_t i = 0; i < n; i += kRunElems) {
    const int64_t count = std::min(kRunElems, n - i);
    RunSums run;
    encode(i, count, run);
    if (HWY_LIKELY(run.Hold())) {
      acc.Add(run);
    } else {
      AddInDouble(i, count, acc, encode);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

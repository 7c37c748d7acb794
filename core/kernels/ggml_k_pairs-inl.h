// The search among whole scales with equal weights, in integers of 16 bits: two
// elements per lane of 32 bits, and no rounding in the sums.
//
//   u_i = rint(U x_i / peak),   v_i = clamp((F u_i + 2^14) >> 15, -N, N - 1)
//   gain = t (2 sum(u v) - t sum(v v)),   t = s U / peak,   F = rint(2^15 / t)
//
// is the sum of squares, in units of (peak / U)^2, that a sub-block with the
// scale s explains: sum(u u) less its squared error. U and F are about as large
// as each other at the scales that matter, U F = 2^15 N, so that codes are
// those of x but for weights within 1/32 of a step of a tie.
//
// Legend: i element of a sub-block (0..kElems-1), p pair of elements p and
// p + kElems / 2; lanes are sub-blocks, as in ggml_k_search-inl.h.
//
// Included once per target by each kernel file (hence the toggled guard).
#if defined(QUANT_CORE_KERNELS_GGML_K_PAIRS_INL_H_) == \
    defined(HWY_TARGET_TOGGLE)
#ifdef QUANT_CORE_KERNELS_GGML_K_PAIRS_INL_H_
#undef QUANT_CORE_KERNELS_GGML_K_PAIRS_INL_H_
#else
#define QUANT_CORE_KERNELS_GGML_K_PAIRS_INL_H_
#endif

#include <algorithm>

#include "core/kernels/ggml_k_search-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace {

// Codes -kN..kN-1 of 16 sub-blocks.
template <int kN, int kElems>
class PairSearch {
 public:
  void Load(const LaneArray (&x)[kElems]) {
    for (int r = 0; r < kVirtualLanes; r += kFloatLanes) LoadLanes(x, r);
  }

  // U / peak of lanes r and on.
  HWY_INLINE VF Unit(int r) const { return unit_.At(r); }

  // Scales to be tried. Made for all of them before the first is: sums that
  // wait for a division would keep the CPU from beginning with the next.
  struct Trial {
    VF t;
    hn::Vec<DI> factor;  // F in both halves
  };
  static HWY_INLINE Trial TrialOf(VF t) { return {t, FactorOf(t)}; }

  // The gain of a trial, in lanes r and on.
  HWY_INLINE VF Gain(int r, const Trial& trial) const {
    const Sums sums = SumsOf(r, trial.factor);
    const VF uv = hn::ConvertTo(DF(), sums.uv);
    const VF vv = hn::ConvertTo(DF(), sums.vv);
    return hn::Mul(trial.t, hn::Sub(hn::Add(uv, uv), hn::Mul(trial.t, vv)));
  }

 private:
  static constexpr int kPairs = kElems / 2;
  static constexpr float kPeak = kN >= 32 ? 1024 : 256;  // U

  struct Sums {
    hn::Vec<DI> uv, vv;
  };

  void LoadLanes(const LaneArray (&x)[kElems], int r) {
    const DI di;
    VF peak = Splat(kLeastRange);
    for (const LaneArray& row : x) peak = hn::Max(peak, hn::Abs(row.At(r)));
    const VF unit = hn::Div(Splat(kPeak), peak);
    unit_.Put(r, unit);
    const VF magic = Splat(kMagic);
    for (int p = 0; p < kPairs; ++p) {
      const VF a = hn::Add(hn::Mul(x[p].At(r), unit), magic);
      const VF b = hn::Add(hn::Mul(x[p + kPairs].At(r), unit), magic);
      const auto low = hn::And(hn::BitCast(di, a), hn::Set(di, 0xFFFF));
      hn::Store(hn::Or(low, hn::ShiftLeft<16>(hn::BitCast(di, b))), di,
                pairs_[p] + r);
    }
  }

  // Where t is too small for its F, the largest one: codes are clamped there.
  // No gain depends on the F of t = 0.
  static HWY_INLINE hn::Vec<DI> FactorOf(VF t) {
    const DI di;
    const VF size = hn::Max(hn::Abs(t), Splat(1.0001f));
    const VF factor = hn::CopySign(hn::Div(Splat(0x1p15f), size), t);
    const auto bits = hn::BitCast(di, hn::Add(factor, Splat(kMagic)));
    return hn::Or(hn::And(bits, hn::Set(di, 0xFFFF)), hn::ShiftLeft<16>(bits));
  }

  HWY_INLINE Sums SumsOf(int r, hn::Vec<DI> factor) const {
    const DI di;
    Sums sums{hn::Zero(di), hn::Zero(di)};
#if HWY_TARGET == HWY_SCALAR
    const int32_t f = hn::GetLane(factor) >> 16;
    int32_t uv = 0, vv = 0;
    for (const auto& pairs : pairs_) {
      for (const int32_t u :
           {int32_t{static_cast<int16_t>(pairs[r])}, pairs[r] >> 16}) {
        const int32_t v = std::clamp((f * u + (1 << 14)) >> 15, -kN, kN - 1);
        uv += u * v;
        vv += v * v;
      }
    }
    sums = {hn::Set(di, uv), hn::Set(di, vv)};
#else
    const hn::RepartitionToNarrow<DI> d16;
    const auto f = hn::BitCast(d16, factor);
    hn::Vec<DI> odd_uv = hn::Zero(di), odd_vv = odd_uv;  // where needed
    HWY_UNROLL(8)
    for (const auto& pairs : pairs_) {
      const auto u = hn::BitCast(d16, hn::Load(di, pairs + r));
      const auto v = hn::Min(
          hn::Max(hn::MulFixedPoint15(u, f), hn::Set(d16, int16_t{-kN})),
          hn::Set(d16, int16_t{kN - 1}));
      sums.uv = hn::ReorderWidenMulAccumulate(di, u, v, sums.uv, odd_uv);
      sums.vv = hn::ReorderWidenMulAccumulate(di, v, v, sums.vv, odd_vv);
    }
    sums.uv = hn::RearrangeToOddPlusEven(sums.uv, odd_uv);
    sums.vv = hn::RearrangeToOddPlusEven(sums.vv, odd_vv);
#endif
    return sums;
  }

  // Element p low, p + kPairs high.
  alignas(64) int32_t pairs_[kPairs][kVirtualLanes];
  LaneArray unit_;
};

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

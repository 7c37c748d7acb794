// The search among whole scales with equal weights, by the sums of
// ggml_pair_sums-inl.h:
//
//   u_i = rint(U x_i / peak),   v_i = clamp((F u_i + 2^14) >> 15, -N, N - 1)
//   gain = t (2 sum(u v) - t sum(v v)),   t = s U / peak,   F = rint(2^15 / t)
//
// is the sum of squares, in units of (peak / U)^2, that a sub-block with the
// scale s explains: sum(u u) less its squared error. For the best scale of the
// same codes, t = sum(u v) / sum(v v), it is sum(u v)^2 / sum(v v). U and F are
// about as large as each other at the scales that matter, U F = 2^15 N, so that
// codes are those of x but for weights within 1/32 of a step of a tie.
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

#include "core/kernels/ggml_k_search-inl.h"
#include "core/kernels/ggml_pair_sums-inl.h"
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

  // Of lanes r and on: U / peak; peak / U; sum(u u); and U with the sign of
  // scales that bring the larger side to codes below zero.
  HWY_INLINE VF Unit(int r) const { return unit_.At(r); }
  HWY_INLINE VF Step(int r) const { return step_.At(r); }
  HWY_INLINE VF Energy(int r) const { return energy_.At(r); }
  HWY_INLINE VF SignedU(int r) const { return signed_u_.At(r); }

  // Scales to be tried. Made for all of them before the first is: sums that
  // wait for a division would keep the CPU from beginning with the next.
  struct Trial {
    VF t;
    PairVec factor;  // F in both halves
  };
  static HWY_INLINE Trial TrialOf(VF t) { return {t, FactorOf(t)}; }

  // Its codes' sums of u v and v v, and its gain.
  struct Fit {
    VF uv, vv, gain;
  };
  HWY_INLINE Fit FitOf(int r, const Trial& trial) const {
    const PairSums sums = SumsOf<-kN, kN - 1, true>(lanes_, r, trial.factor);
    const VF uv = hn::ConvertTo(DF(), sums.uv);
    const VF vv = hn::ConvertTo(DF(), sums.vv);
    const VF twice = hn::Sub(hn::Add(uv, uv), hn::Mul(trial.t, vv));
    return {uv, vv, hn::Mul(trial.t, twice)};
  }

 private:
  static constexpr int kPairs = kElems / 2;
  static constexpr float kU = kN >= 32 ? 1024 : 256;

  void LoadLanes(const LaneArray (&x)[kElems], int r) {
    VF least = hn::Zero(DF()), most = least;
    for (const LaneArray& row : x) {
      least = hn::Min(least, row.At(r));
      most = hn::Max(most, row.At(r));
    }
    const VF below = hn::Neg(least);
    const VF peak = hn::Max(hn::Max(below, most), Splat(kLeastRange));
    const VF unit = hn::Div(Splat(kU), peak);
    unit_.Put(r, unit);
    step_.Put(r, hn::Mul(peak, Splat(1 / kU)));
    signed_u_.Put(r,
                  hn::IfThenElse(hn::Ge(below, most), Splat(kU), Splat(-kU)));
    for (int p = 0; p < kPairs; ++p) {
      const VF low = hn::Mul(x[p].At(r), unit);
      const VF high = hn::Mul(x[p + kPairs].At(r), unit);
      hn::Store(PairOf(low, high), PairTag(), lanes_.pair[p] + r);
    }
    energy_.Put(r, hn::ConvertTo(DF(), EnergyOf(lanes_, r)));
  }

  // Where t is too small for its F, the largest one: codes are clamped there.
  // No gain depends on the F of t = 0.
  static HWY_INLINE PairVec FactorOf(VF t) {
    const VF size = hn::Max(hn::Abs(t), Splat(1.0001f));
    const VF factor = hn::CopySign(hn::Div(Splat(0x1p15f), size), t);
    return PairOf(factor, factor);
  }

  PairLanes<kPairs> lanes_;  // element p low, p + kPairs high
  LaneArray unit_, step_, energy_, signed_u_;
};

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

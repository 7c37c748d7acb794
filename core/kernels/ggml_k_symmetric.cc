// Encoders of Q3_K and Q6_K: value = (d * scale[j]) * code with whole signed
// codes -N..N-1 and scales, and d in F16 (ggml_k_blocks.h).
//
// What is minimised is E = sum w (x - value)^2, w the importance of the column
// (1 where there is none). In a sub-block, with s = d * scale:
//
//   1. The largest magnitude gets code -(N + a), for a small grid of stretches
//      a and for both signs of s; each gets its least-squares s.
//   2. d is the least F16 that covers the largest s.
//   3. All whole scales near s / d are tried, with codes for the stored scale.
//   4. d is fitted by least squares to all codes of the block, rounded to F16,
//      and 3 is done again. The least E seen is kept.
//
// Without importance 1 and 3 are done in integers of 16 bits, whose sums also
// give E and serve 4 (ggml_k_pairs-inl.h).
//
// Source of the block types and of the reference search: ggml, which tries 19
// stretches of one sign, then rounds each scale to a whole number without
// looking at the error and keeps d as first rounded (for Q3_K without
// importance: coordinate descent on the codes), and weighs errors by x^2 or,
// with importance, sqrt(mean square + x^2) (Q3_K). Whole scales are finer than
// those stretches, so that searching among them finds both at once. A cheap
// step 1 is enough: it only sets d and the middle of the search.
#include <algorithm>
#include <cmath>

#include "core/kernels/ggml_blocks.h"
#include "core/kernels/ggml_k_blocks.h"
#include "core/kernels/ggml_k_scales.h"
#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/ggml_k_symmetric.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/ggml_k_pairs-inl.h"
#include "core/kernels/ggml_k_search-inl.h"
#include "hwy/highway.h"

// Shared by all targets.
#ifndef QUANT_CORE_KERNELS_GGML_K_SYMMETRIC_ONCE_
#define QUANT_CORE_KERNELS_GGML_K_SYMMETRIC_ONCE_
namespace quant {

struct SymmetricEffort {
  Grid stretch;      // step 1: a
  int signs;         // step 1: 1 for the sign that gives the larger side -N
  int window;        // step 3: whole scales to each side, up to kMostWindow
  int refits;        // step 4
  int refit_window;  // step 3 after step 4
};

inline constexpr int kMostWindow = 8;

struct SymmetricEfforts {
  SymmetricEffort thorough;  // SearchLevel::kDefault
  SymmetricEffort fast;      // SearchLevel::kFast
};

// Chosen by measuring error against time on normal weights, with and without
// outliers. With eight codes the sign matters; with 64 the scale alone does.
inline constexpr SymmetricEfforts kQ3KEfforts = {
    {{6, -1.2f, 0.4f}, 2, 3, 1, 1}, {{4, -1.0f, 0.5f}, 2, 1, 0, 0}};
inline constexpr SymmetricEfforts kQ6KEfforts = {
    {{1, -2.0f, 0.0f}, 1, 8, 1, 1}, {{1, -0.7f, 0.0f}, 1, 3, 0, 0}};

}  // namespace quant
#endif

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace {

// Legend: r the first lane of a vector, l codes, c whole scales, N = kN.
template <int kN, int kScaleMax, bool kWeighted>
class SymmetricSearch {
 public:
  static constexpr int kElems = 16;
  using Pairs = PairSearch<kN, kElems>;

  explicit SymmetricSearch(const SymmetricEffort& effort) : effort_(effort) {}

  Batch<kElems>& blocks() { return blocks_; }

  void Search() {
    best_.error = 1e300;
    if constexpr (!kWeighted) pairs_.Load(blocks_.x);
    for (int r = 0; r < kVirtualLanes; r += kFloatLanes) FitScale(r);
    CoverScales();
    for (int r = 0; r < kVirtualLanes; r += kFloatLanes) {
      scale_.Put(r, Whole(hn::Mul(s_.At(r), InverseOrZero(d_.At(r)))));
      FitWhole(r, effort_.window);
    }
    KeepBest();
    for (int i = 0; i < effort_.refits; ++i) {
      RefitStep();
      for (int r = 0; r < kVirtualLanes; r += kFloatLanes) {
        FitWhole(r, effort_.refit_window);
      }
      KeepBest();
    }
  }

  // Codes of the block, whose values are x, with the best scales.
  void Write(const float* x, KBlock& out) const {
    out.d = best_.d.code;
    for (int j = 0; j < kVirtualLanes; ++j) {
      out.scale[j] = static_cast<int8_t>(best_.scale[j]);
      const float s = best_.d.value * best_.scale[j];
      const VF inverse = Splat(std::fabs(s) >= kLeastScale ? 1.0f / s : 0.0f);
      for (int i = j * kElems; i < (j + 1) * kElems; i += kFloatLanes) {
        const VF l = CodeOf(hn::Mul(blocks_.Value(0, x + i), inverse));
        StoreCodes(hn::Add(l, Splat(kN)), out.code + i);
      }
    }
  }

 private:
  struct Sums {
    VF xl, ll;  // sums of w x l, w l^2
  };

  struct Best {
    double error;
    HalfScale d;
    float scale[kVirtualLanes];
  };

  HWY_INLINE VF Weighted(int i, int r, VF v) const {
    return hn::Mul(blocks_.w[i].At(r), v);
  }

  static HWY_INLINE VF CodeOf(VF t) { return Rounded(Clamped(t, -kN, kN - 1)); }

  static HWY_INLINE VF Whole(VF v) {
    return Rounded(Clamped(v, -kScaleMax - 1, kScaleMax));
  }

  static HWY_INLINE VF SignedInverse(VF s) {
    return hn::CopySign(InverseOrZero(hn::Abs(s)), s);
  }

  HWY_INLINE Sums SumsOf(int r, VF inverse) const {
    Sums sums = {hn::Zero(DF()), hn::Zero(DF())};
    for (int i = 0; i < kElems; ++i) {
      const VF x = blocks_.x[i].At(r);
      const VF l = CodeOf(hn::Mul(x, inverse));
      const VF wl = Weighted(i, r, l);
      sums.xl = hn::Add(sums.xl, hn::Mul(wl, x));
      sums.ll = hn::Add(sums.ll, hn::Mul(wl, l));
    }
    return sums;
  }

  // Step 1. With the best s for its codes, E = sum w x^2 - xl^2 / ll.
  void FitScale(int r) {
    if constexpr (kWeighted) {
      FitScaleInFloats(r);
    } else {
      FitScaleInPairs(r);
    }
  }

  void FitScaleInPairs(int r) {
    VF u = pairs_.SignedU(r);
    VF gain = hn::Zero(DF()), t = gain;
    for (int sign = 0; sign < effort_.signs; ++sign) {
      for (int a = 0; a < effort_.stretch.count; ++a) {
        const VF tried = hn::Mul(u, Splat(1 / (kN + effort_.stretch.At(a))));
        const auto fit = pairs_.FitOf(r, Pairs::TrialOf(tried));
        const VF t_a = hn::Div(fit.uv, hn::Max(fit.vv, Splat(1.0f)));
        const VF gain_a = hn::Mul(t_a, fit.uv);
        const MF better = hn::Gt(gain_a, gain);
        gain = hn::IfThenElse(better, gain_a, gain);
        t = hn::IfThenElse(better, t_a, t);
      }
      u = hn::Neg(u);
    }
    s_.Put(r, hn::Mul(t, pairs_.Step(r)));
  }

  void FitScaleInFloats(int r) {
    VF least = hn::Zero(DF()), most = least;
    for (int i = 0; i < kElems; ++i) {
      least = hn::Min(least, blocks_.x[i].At(r));
      most = hn::Max(most, blocks_.x[i].At(r));
    }
    const VF below = hn::Neg(least);
    const VF top = hn::Max(hn::Max(below, most), Splat(kLeastRange));
    const VF one = hn::Div(Splat(1.0f), top);
    VF unit = hn::IfThenElse(hn::Ge(below, most), one, hn::Neg(one));
    VF gain = hn::Zero(DF()), s = gain;
    for (int sign = 0; sign < effort_.signs; ++sign) {
      for (int a = 0; a < effort_.stretch.count; ++a) {
        const Sums t =
            SumsOf(r, hn::Mul(unit, Splat(kN + effort_.stretch.At(a))));
        const VF s_t = hn::Div(t.xl, hn::Max(t.ll, Splat(1e-30f)));
        const VF gain_t = hn::Mul(s_t, t.xl);
        const MF better = hn::Gt(gain_t, gain);
        gain = hn::IfThenElse(better, gain_t, gain);
        s = hn::IfThenElse(better, s_t, s);
      }
      unit = hn::Neg(unit);
    }
    s_.Put(r, s);
  }

  // Step 2. A scale half a step beyond the largest whole one loses little.
  void CoverScales() {
    VF most = hn::Zero(DF());
    for (int r = 0; r < kVirtualLanes; r += kFloatLanes) {
      most = hn::Max(most, hn::Abs(s_.At(r)));
    }
    const float s = hn::GetLane(hn::MaxOfLanes(DF(), most));
    SetStep(HalfAbove(s / (kScaleMax + 0.5f), blocks_.magnitude[0].exponent));
  }

  void SetStep(HalfScale d) {
    d_half_ = d;
    std::fill_n(d_.lane, kVirtualLanes, d.value);
  }

  // Step 3, around scale_.
  void FitWhole(int r, int window) {
    if constexpr (kWeighted) {
      FitWholeInFloats(r, window);
    } else {
      FitWholeInPairs(r, window);
    }
  }

  HWY_INLINE VF WholeNear(VF start, int k) const {
    return Clamped(hn::Add(start, Splat(k)), -kScaleMax - 1, kScaleMax);
  }

  void FitWholeInFloats(int r, int window) {
    const VF start = scale_.At(r);
    VF error = Splat(kHuge), scale = start;
    for (int k = -window; k <= window; ++k) {
      const VF c = WholeNear(start, k);
      const VF error_c = ErrorOf(r, hn::Mul(c, d_.At(r)));
      const MF better = hn::Lt(error_c, error);
      error = hn::IfThenElse(better, error_c, error);
      scale = hn::IfThenElse(better, c, scale);
    }
    scale_.Put(r, scale);
    error_.Put(r, error);
  }

  void FitWholeInPairs(int r, int window) {
    const VF start = scale_.At(r);
    const VF step = hn::Mul(d_.At(r), pairs_.Unit(r));
    typename Pairs::Trial trials[2 * kMostWindow + 1];
    for (int k = -window; k <= window; ++k) {
      trials[k + window] = Pairs::TrialOf(hn::Mul(WholeNear(start, k), step));
    }
    VF scale = start;
    typename Pairs::Fit best = {scale, scale, Splat(-kHuge)};
    for (int k = -window; k <= window; ++k) {
      const auto fit = pairs_.FitOf(r, trials[k + window]);
      const MF better = hn::Gt(fit.gain, best.gain);
      scale = hn::IfThenElse(better, WholeNear(start, k), scale);
      best = {hn::IfThenElse(better, fit.uv, best.uv),
              hn::IfThenElse(better, fit.vv, best.vv),
              hn::IfThenElse(better, fit.gain, best.gain)};
    }
    scale_.Put(r, scale);
    const VF x_per_u = pairs_.Step(r);
    const VF error = hn::Sub(pairs_.Energy(r), best.gain);
    error_.Put(r, hn::Mul(hn::Mul(error, x_per_u), x_per_u));
    xl_.Put(r, hn::Mul(best.uv, x_per_u));
    ll_.Put(r, best.vv);
  }

  HWY_INLINE VF ErrorOf(int r, VF s) const {
    const VF inverse = SignedInverse(s);
    VF error = hn::Zero(DF());
    for (int i = 0; i < kElems; ++i) {
      const VF x = blocks_.x[i].At(r);
      const VF e = hn::Sub(x, hn::Mul(CodeOf(hn::Mul(x, inverse)), s));
      error = hn::Add(error, hn::Mul(Weighted(i, r, e), e));
    }
    return error;
  }

  // With weights; in pairs step 3 has the sums of its codes.
  void SumCodes() {
    for (int r = 0; r < kVirtualLanes; r += kFloatLanes) {
      const Sums t = SumsOf(r, SignedInverse(hn::Mul(scale_.At(r), d_.At(r))));
      xl_.Put(r, t.xl);
      ll_.Put(r, t.ll);
    }
  }

  // Step 4.
  void RefitStep() {
    if constexpr (kWeighted) SumCodes();
    double nums[kVirtualLanes], dens[kVirtualLanes];
    for (int j = 0; j < kVirtualLanes; ++j) {
      const double c = scale_.lane[j];
      nums[j] = c * xl_.lane[j];
      dens[j] = c * c * ll_.lane[j];
    }
    const double den = CombineLanes(dens);
    const HalfScale d = NearestHalf(den > 0 ? CombineLanes(nums) / den : 0,
                                    blocks_.magnitude[0].exponent);
    if (d.code != 0) SetStep(d);
  }

  void KeepBest() {
    double errors[kVirtualLanes];
    std::copy_n(error_.lane, kVirtualLanes, errors);
    const double error = CombineLanes(errors);
    if (error >= best_.error) return;
    best_.error = error;
    best_.d = d_half_;
    std::copy_n(scale_.lane, kVirtualLanes, best_.scale);
  }

  const SymmetricEffort& effort_;
  Batch<kElems> blocks_;
  LaneArray s_, d_, scale_, error_;
  LaneArray xl_, ll_;  // sums of the codes of scale_
  Pairs pairs_;        // without weights
  HalfScale d_half_;
  Best best_;
};

struct SymmetricType {
  const SymmetricEfforts& efforts;
  void (*pack)(const KBlock&, uint8_t*);
  int bytes;
};

template <typename Search>
void EncodeBlock(const SymmetricType& type, const float* x,
                 const float* importance, Search& search, uint8_t* out) {
  search.blocks().Load(0, x, importance);
  if (search.blocks().magnitude[0].zero) {
    std::fill_n(out, type.bytes, uint8_t{0});
    return;
  }
  KBlock block;
  search.Search();
  search.Write(x, block);
  type.pack(block, out);
}

bool AllEqual(const float* importance) {
  return std::all_of(importance, importance + kKElems,
                     [=](float v) { return v == importance[0]; });
}

// Equal importances are none.
template <int kN, int kScaleMax>
void EncodeSymmetric(const SymmetricType& type, const float* x, int64_t n,
                     const float* importance, SearchLevel level, uint8_t* out) {
  const SymmetricEffort& effort =
      level == SearchLevel::kFast ? type.efforts.fast : type.efforts.thorough;
  SymmetricSearch<kN, kScaleMax, false> plain(effort);
  SymmetricSearch<kN, kScaleMax, true> weighted(effort);
  for (int64_t i = 0; i < n; i += kKElems, out += type.bytes) {
    if (importance == nullptr || AllEqual(importance + i)) {
      EncodeBlock(type, x + i, nullptr, plain, out);
    } else {
      EncodeBlock(type, x + i, importance + i, weighted, out);
    }
  }
}

}  // namespace

void EncodeQ3KImpl(const float* x, int64_t n, const float* importance,
                   SearchLevel level, uint8_t* out) {
  EncodeSymmetric<4, 31>({kQ3KEfforts, PackQ3K, kQ3KBytes}, x, n, importance,
                         level, out);
}

void EncodeQ6KImpl(const float* x, int64_t n, const float* importance,
                   SearchLevel level, uint8_t* out) {
  EncodeSymmetric<32, 127>({kQ6KEfforts, PackQ6K, kQ6KBytes}, x, n, importance,
                           level, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {

HWY_EXPORT(EncodeQ3KImpl);
HWY_EXPORT(EncodeQ6KImpl);

void EncodeQ3K(const float* x, int64_t n, const float* importance,
               SearchLevel search, uint8_t* blocks) {
  HWY_DYNAMIC_DISPATCH(EncodeQ3KImpl)(x, n, importance, search, blocks);
}

void EncodeQ6K(const float* x, int64_t n, const float* importance,
               SearchLevel search, uint8_t* blocks) {
  HWY_DYNAMIC_DISPATCH(EncodeQ6KImpl)(x, n, importance, search, blocks);
}

}  // namespace quant
#endif  // HWY_ONCE

// Encoders of Q2_K, Q4_K and Q5_K: value = (d * scale[j]) * code - dmin *
// min[j] with whole codes, scales and mins, and d and dmin in F16
// (ggml_k_blocks.h).
//
// What is minimised is E = sum w (x - value)^2, w the importance of the column
// (1 where there is none). In a sub-block, with s = d * scale, m = dmin * min:
//
//   1. Lines. Codes round((x - lo) (c + a) / range + b), c the largest code,
//   for
//      a grid of stretches a and shifts b; each gets its least-squares s and m
//      (held at m >= 0); the best is improved by coding with its own s and m.
//   2. d and dmin are the least F16 that cover the largest s and m.
//   3. Pairs. Around the nearest whole scale: code with the stored s and m,
//   take
//      the whole pair that suits those codes best, code again, and so on.
//   4. d and dmin are fitted by least squares to all codes of the block,
//   rounded
//      to F16, and 3 is done again. The least E seen is kept.
//
// Errors come from the sums w l, w l^2, w l x (l a code), so that a candidate
// costs one pass over the sub-block.
//
// Source of the block types and of the reference search: ggml, whose search has
// a grid of stretches only (step 1 with b = 0), rounds scales and mins to whole
// numbers without looking at the error, keeps d as first rounded, and weighs
// errors by importance * sqrt(mean square + x^2) or, without importance, by
// |x|. Here the error itself is minimised, on the scales that are stored.
#include <algorithm>

#include "core/kernels/ggml_blocks.h"
#include "core/kernels/ggml_k_blocks.h"
#include "core/kernels/ggml_k_scales.h"
#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/ggml_k_affine.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/ggml_k_search-inl.h"
#include "hwy/highway.h"

// Shared by all targets.
#ifndef QUANT_CORE_KERNELS_GGML_K_AFFINE_ONCE_
#define QUANT_CORE_KERNELS_GGML_K_AFFINE_ONCE_
namespace quant {

struct AffineEffort {
  Grid stretch;      // step 1: a
  Grid shift;        // step 1: b
  int polish;        // step 1: rounds of coding with the best line
  int window;        // step 3: whole scales to each side
  int rounds;        // step 3: codings per scale
  int refits;        // step 4
  int refit_window;  // step 3 after step 4
};

// Chosen by measuring error against time on normal weights, with and without
// outliers; more of anything gains less than 0.3 %.
inline constexpr AffineEffort kThoroughAffine = {
    {6, -0.8f, 0.4f}, {3, -0.4f, 0.4f}, 1, 1, 3, 1, 1};
inline constexpr AffineEffort kFastAffine = {
    {4, -0.8f, 0.6f}, {2, -0.3f, 0.5f}, 1, 1, 1, 0, 0};

}  // namespace quant
#endif

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace {

// Legend: r the first lane of a vector, u = x - lo >= 0 with lo = min(0, min
// x), l codes, c_s and c_m whole scales and mins; value = s l - m.
template <int kElems, int kQMax, int kScaleMax, bool kWeighted>
class AffineSearch {
 public:
  using Blocks = Batch<kElems>;

  explicit AffineSearch(const AffineEffort& effort) : effort_(effort) {}

  Blocks& blocks() { return blocks_; }

  void Search() {
    for (Best& best : best_) best.error = kNoError;
    for (int r = 0; r < kVirtualLanes; r += kFloatLanes) {
      Prepare(r);
      FitLine(r);
    }
    for (int b = 0; b < Blocks::kCount; ++b) CoverLines(b);
    for (int r = 0; r < kVirtualLanes; r += kFloatLanes) {
      StartFromLine(r);
      FitPair(r, effort_.window);
    }
    for (int b = 0; b < Blocks::kCount; ++b) KeepBest(b);
    for (int i = 0; i < effort_.refits; ++i) {
      for (int b = 0; b < Blocks::kCount; ++b) RefitSteps(b);
      for (int r = 0; r < kVirtualLanes; r += kFloatLanes) {
        FitPair(r, effort_.refit_window);
      }
      for (int b = 0; b < Blocks::kCount; ++b) KeepBest(b);
    }
  }

  // Codes of block b, whose values are x, with the best scales.
  void Write(int b, const float* x, KBlock& out) const {
    const Best& best = best_[b];
    out.d = best.d.code;
    out.dmin = best.dmin.code;
    for (int j = 0; j < Blocks::kLanes; ++j) {
      out.scale[j] = static_cast<int8_t>(best.scale[j]);
      out.min[j] = static_cast<uint8_t>(best.min[j]);
      const float s = best.d.value * best.scale[j];
      const VF m = Splat(best.dmin.value * best.min[j]);
      const VF inverse = Splat(s >= kLeastScale ? 1.0f / s : 0.0f);
      for (int i = j * kElems; i < (j + 1) * kElems; i += kFloatLanes) {
        const VF v = hn::Add(blocks_.Value(b, x + i), m);
        StoreCodes(Clamped(hn::Mul(v, inverse), 0.0f, kQMax), out.code + i);
      }
    }
  }

 private:
  static constexpr double kNoError = 1e300;

  struct Sums {
    VF l, ll, ul;  // sums of w l, w l^2, w l u
  };

  struct Best {
    double error;
    HalfScale d, dmin;
    float scale[Blocks::kLanes], min[Blocks::kLanes];
  };

  // Shifts x to u, and sums what no code changes.
  void Prepare(int r) {
    VF least = hn::Zero(DF()), most = Splat(-kBeyondNormal);
    for (int i = 0; i < kElems; ++i) {
      least = hn::Min(least, blocks_.x[i].At(r));
      most = hn::Max(most, blocks_.x[i].At(r));
    }
    VF w = hn::Zero(DF()), wu = w, wuu = w;
    for (int i = 0; i < kElems; ++i) {
      const VF u = hn::Sub(blocks_.x[i].At(r), least);
      blocks_.x[i].Put(r, u);
      if constexpr (kWeighted) w = hn::Add(w, blocks_.w[i].At(r));
      const VF t = Weighted(i, r, u);
      wu = hn::Add(wu, t);
      wuu = hn::Add(wuu, hn::Mul(t, u));
    }
    if constexpr (!kWeighted) w = Splat(kElems);
    lo_.Put(r, least);
    range_.Put(r, hn::Max(hn::Sub(most, least), Splat(kLeastRange)));
    w_.Put(r, w);
    inverse_w_.Put(r, hn::Div(Splat(1.0f), w));
    u_.Put(r, wu);
    uu_.Put(r, wuu);
  }

  HWY_INLINE VF Weighted(int i, int r, VF v) const {
    if constexpr (kWeighted) return hn::Mul(blocks_.w[i].At(r), v);
    return v;
  }

  // Adds v^2 w for v whole. Without weights every such sum is exact, and so
  // fused or not the same.
  HWY_INLINE VF AddSquare(VF wv, VF v, VF sum) const {
    if constexpr (kWeighted) return hn::Add(sum, hn::Mul(wv, v));
    return hn::MulAdd(v, v, sum);
  }

  // Over the codes round(u * inverse + shift).
  template <bool kMayBeNegative>
  HWY_INLINE Sums SumsOf(int r, VF inverse, VF shift) const {
    const VF zero = hn::Zero(DF());
    Sums sums = {zero, zero, zero};
    for (int i = 0; i < kElems; ++i) {
      const VF u = blocks_.x[i].At(r);
      VF t = hn::Add(hn::Mul(u, inverse), shift);
      if constexpr (kMayBeNegative) t = hn::Max(t, zero);
      const VF l = Rounded(hn::Min(t, Splat(kQMax)));
      const VF wl = Weighted(i, r, l);
      sums.l = hn::Add(sums.l, wl);
      sums.ll = AddSquare(wl, l, sums.ll);
      sums.ul = hn::Add(sums.ul, hn::Mul(wl, u));
    }
    return sums;
  }

  // E for u ~ s l - m, where m counts from lo.
  HWY_INLINE VF ErrorOf(int r, const Sums& t, VF s, VF m) const {
    const VF two = Splat(2.0f);
    const VF of_m =
        hn::Mul(m, hn::Add(hn::Mul(m, w_.At(r)), hn::Mul(two, u_.At(r))));
    const VF of_s =
        hn::Mul(s, hn::Sub(hn::Mul(s, t.ll),
                           hn::Mul(two, hn::Add(t.ul, hn::Mul(m, t.l)))));
    return hn::Add(uu_.At(r), hn::Add(of_m, of_s));
  }

  // The best m for a given s; may be negative.
  HWY_INLINE VF MinFor(int r, const Sums& t, VF s) const {
    const VF excess = hn::Sub(hn::Mul(s, t.l), u_.At(r));
    return hn::Sub(hn::Mul(excess, inverse_w_.At(r)), lo_.At(r));
  }

  // Least squares: s >= 0 and m >= 0.
  HWY_INLINE void LineOf(int r, const Sums& t, VF& s, VF& m) const {
    const VF zero = hn::Zero(DF()), one = Splat(1.0f);
    const VF w_ll = hn::Mul(w_.At(r), t.ll);
    const VF det = hn::Sub(w_ll, hn::Mul(t.l, t.l));
    const VF num = hn::Sub(hn::Mul(w_.At(r), t.ul), hn::Mul(t.l, u_.At(r)));
    // Codes that are all equal, or nearly by weight, say nothing about s.
    const MF known =
        hn::And(hn::Gt(num, zero), hn::Gt(det, hn::Mul(Splat(1e-6f), w_ll)));
    s = hn::IfThenElseZero(known,
                           hn::Div(num, hn::IfThenElse(known, det, one)));
    m = MinFor(r, t, s);
    const MF below = hn::Lt(m, zero);
    if (hn::AllFalse(DF(), below)) return;
    // The best s with m = 0.
    const VF xl = hn::Max(hn::Add(t.ul, hn::Mul(lo_.At(r), t.l)), zero);
    s = hn::IfThenElse(below, hn::Div(xl, hn::Max(t.ll, Splat(1e-30f))), s);
    m = hn::Max(m, zero);
  }

  // Step 1.
  void FitLine(int r) {
    const VF inverse_range = hn::Div(Splat(1.0f), range_.At(r));
    const VF lo = lo_.At(r);
    VF error = Splat(kHuge), s = hn::Zero(DF()), m = s;
    const auto take = [&](const Sums& t) HWY_ATTR {
      VF s_t, m_t;
      LineOf(r, t, s_t, m_t);
      const VF error_t = ErrorOf(r, t, s_t, hn::Add(m_t, lo));
      const MF better = hn::Lt(error_t, error);
      error = hn::IfThenElse(better, error_t, error);
      s = hn::IfThenElse(better, s_t, s);
      m = hn::IfThenElse(better, m_t, m);
    };
    for (int b = 0; b < effort_.shift.count; ++b) {
      for (int a = 0; a < effort_.stretch.count; ++a) {
        const VF inverse =
            hn::Mul(inverse_range, Splat(kQMax + effort_.stretch.At(a)));
        take(SumsOf<false>(r, inverse, Splat(effort_.shift.At(b))));
      }
    }
    for (int i = 0; i < effort_.polish; ++i) {
      const VF inverse = InverseOrZero(s);
      take(SumsOf<true>(r, inverse, hn::Mul(hn::Add(m, lo), inverse)));
    }
    s_.Put(r, s);
    m_.Put(r, m);
  }

  // Step 2.
  void CoverLines(int b) {
    float s = 0, m = 0;
    for (int j = 0; j < Blocks::kLanes; ++j) {
      s = std::max(s, s_.lane[b * Blocks::kLanes + j]);
      m = std::max(m, m_.lane[b * Blocks::kLanes + j]);
    }
    const int exponent = blocks_.magnitude[b].exponent;
    SetSteps(b, HalfAbove(s / kScaleMax, exponent),
             HalfAbove(m / kScaleMax, exponent));
  }

  void SetSteps(int b, HalfScale d, HalfScale dmin) {
    d_half_[b] = d;
    dmin_half_[b] = dmin;
    for (int j = 0; j < Blocks::kLanes; ++j) {
      d_.lane[b * Blocks::kLanes + j] = d.value;
      dmin_.lane[b * Blocks::kLanes + j] = dmin.value;
    }
  }

  static HWY_INLINE VF Whole(VF v) {
    return Rounded(Clamped(v, 0.0f, kScaleMax));
  }

  void StartFromLine(int r) {
    scale_.Put(r, Whole(hn::Mul(s_.At(r), InverseOrZero(d_.At(r)))));
    min_.Put(r, Whole(hn::Mul(m_.At(r), InverseOrZero(dmin_.At(r)))));
  }

  // The better of the two whole scales around least squares, each with the
  // whole min that suits it.
  HWY_INLINE void PairOf(int r, const Sums& t, VF inverse_d, VF inverse_dmin,
                         VF& c_s, VF& c_m) const {
    VF s, m;
    LineOf(r, t, s, m);
    const VF below = hn::Floor(Clamped(hn::Mul(s, inverse_d), 0.0f, kScaleMax));
    VF error = Splat(kHuge);
    for (int k = 0; k < 2; ++k) {
      const VF c = hn::Min(hn::Add(below, Splat(k)), Splat(kScaleMax));
      const VF s_k = hn::Mul(c, d_.At(r));
      const VF n = Whole(hn::Mul(MinFor(r, t, s_k), inverse_dmin));
      const VF m_k = hn::Add(hn::Mul(n, dmin_.At(r)), lo_.At(r));
      const VF error_k = ErrorOf(r, t, s_k, m_k);
      const MF better = hn::Lt(error_k, error);
      error = hn::IfThenElse(better, error_k, error);
      c_s = hn::IfThenElse(better, c, c_s);
      c_m = hn::IfThenElse(better, n, c_m);
    }
  }

  // Step 3, from scale_ and min_.
  void FitPair(int r, int window) {
    const VF inverse_d = InverseOrZero(d_.At(r));
    const VF inverse_dmin = InverseOrZero(dmin_.At(r));
    const VF start_s = scale_.At(r), start_m = min_.At(r);
    error_.Put(r, Splat(kHuge));
    for (int k = -window; k <= window; ++k) {
      VF c_s = Clamped(hn::Add(start_s, Splat(k)), 0.0f, kScaleMax);
      VF c_m = start_m;
      for (int i = 0;; ++i) {
        const VF s = hn::Mul(c_s, d_.At(r));
        const VF m = hn::Add(hn::Mul(c_m, dmin_.At(r)), lo_.At(r));
        const VF inverse = InverseOrZero(s);
        const Sums t = SumsOf<true>(r, inverse, hn::Mul(m, inverse));
        KeepPair(r, ErrorOf(r, t, s, m), c_s, c_m, t);
        if (i + 1 == effort_.rounds) break;
        if (i == 0) {
          // Stay at this scale until its min fits.
          c_m = Whole(hn::Mul(MinFor(r, t, s), inverse_dmin));
        } else {
          PairOf(r, t, inverse_d, inverse_dmin, c_s, c_m);
        }
      }
    }
  }

  HWY_INLINE void KeepPair(int r, VF error, VF c_s, VF c_m, const Sums& t) {
    const MF better = hn::Lt(error, error_.At(r));
    const auto keep = [&](VF v, LaneArray& to) HWY_ATTR {
      to.Put(r, hn::IfThenElse(better, v, to.At(r)));
    };
    keep(error, error_);
    keep(c_s, scale_);
    keep(c_m, min_);
    keep(t.l, l_);
    keep(t.ll, ll_);
    keep(t.ul, ul_);
  }

  // Step 4. With S = c_s l and M = c_m, the normal equations are
  //   d SS - dmin SM = Sx,  d SM - dmin MM = Mx.
  void RefitSteps(int b) {
    double ss = 0, sm = 0, mm = 0, sx = 0, mx = 0;
    for (int j = b * Blocks::kLanes; j < (b + 1) * Blocks::kLanes; ++j) {
      const double scale = scale_.lane[j], min = min_.lane[j];
      const double lo = lo_.lane[j];
      ss += scale * scale * ll_.lane[j];
      sm += scale * min * l_.lane[j];
      mm += min * min * w_.lane[j];
      sx += scale * (ul_.lane[j] + lo * l_.lane[j]);
      mx += min * (u_.lane[j] + lo * w_.lane[j]);
    }
    const int exponent = blocks_.magnitude[b].exponent;
    HalfScale d = d_half_[b], dmin = dmin_half_[b];
    const double det = ss * mm - sm * sm;
    const bool both = det > 1e-9 * ss * mm;
    const HalfScale new_d = NearestHalf(both     ? (sx * mm - sm * mx) / det
                                        : ss > 0 ? (sx + dmin.value * sm) / ss
                                                 : 0,
                                        exponent);
    if (new_d.code != 0) d = new_d;
    if (both) {
      // The best dmin for the d that is stored.
      const HalfScale new_dmin =
          NearestHalf((d.value * sm - mx) / mm, exponent);
      if (new_dmin.code != 0) dmin = new_dmin;
    }
    SetSteps(b, d, dmin);
  }

  void KeepBest(int b) {
    const int first = b * Blocks::kLanes;
    double error = 0;
    for (int j = 0; j < Blocks::kLanes; ++j) error += error_.lane[first + j];
    Best& best = best_[b];
    if (error >= best.error) return;
    best.error = error;
    best.d = d_half_[b];
    best.dmin = dmin_half_[b];
    std::copy_n(scale_.lane + first, Blocks::kLanes, best.scale);
    std::copy_n(min_.lane + first, Blocks::kLanes, best.min);
  }

  const AffineEffort& effort_;
  Blocks blocks_;
  LaneArray lo_, range_;
  LaneArray w_, inverse_w_, u_, uu_;             // sums of w, w u, w u^2
  LaneArray s_, m_;                              // the best line
  LaneArray d_, dmin_;                           // of each lane's block
  LaneArray scale_, min_, error_, l_, ll_, ul_;  // the best pair
  HalfScale d_half_[Blocks::kCount], dmin_half_[Blocks::kCount];
  Best best_[Blocks::kCount];
};

struct AffineType {
  void (*pack)(const KBlock&, uint8_t*);
  int bytes;
};

template <typename Search>
void EncodeWith(const AffineType& type, const AffineEffort& effort,
                const float* x, int64_t n, const float* importance,
                uint8_t* out) {
  constexpr int kCount = Search::Blocks::kCount;
  Search search(effort);
  KBlock block;
  const int64_t blocks = n / kKElems;
  for (int64_t first = 0; first < blocks; first += kCount) {
    for (int b = 0; b < kCount; ++b) {
      // An odd last block is searched twice.
      const int64_t at = std::min(first + b, blocks - 1) * kKElems;
      search.blocks().Load(b, x + at, importance ? importance + at : nullptr);
    }
    search.Search();
    for (int b = 0; b < kCount && first + b < blocks; ++b) {
      uint8_t* bytes = out + (first + b) * type.bytes;
      if (search.blocks().magnitude[b].zero) {
        std::fill_n(bytes, type.bytes, uint8_t{0});
        continue;
      }
      search.Write(b, x + (first + b) * kKElems, block);
      type.pack(block, bytes);
    }
  }
}

template <int kElems, int kQMax, int kScaleMax>
void EncodeAffine(const AffineType& type, const float* x, int64_t n,
                  const float* importance, SearchLevel level, uint8_t* out) {
  const AffineEffort& effort =
      level == SearchLevel::kFast ? kFastAffine : kThoroughAffine;
  if (importance != nullptr) {
    EncodeWith<AffineSearch<kElems, kQMax, kScaleMax, true>>(type, effort, x, n,
                                                             importance, out);
  } else {
    EncodeWith<AffineSearch<kElems, kQMax, kScaleMax, false>>(
        type, effort, x, n, importance, out);
  }
}

}  // namespace

void EncodeQ2KImpl(const float* x, int64_t n, const float* importance,
                   SearchLevel level, uint8_t* out) {
  EncodeAffine<16, 3, 15>({PackQ2K, kQ2KBytes}, x, n, importance, level, out);
}

void EncodeQ4KImpl(const float* x, int64_t n, const float* importance,
                   SearchLevel level, uint8_t* out) {
  EncodeAffine<32, 15, 63>({PackQ4K, kQ4KBytes}, x, n, importance, level, out);
}

void EncodeQ5KImpl(const float* x, int64_t n, const float* importance,
                   SearchLevel level, uint8_t* out) {
  EncodeAffine<32, 31, 63>({PackQ5K, kQ5KBytes}, x, n, importance, level, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {

HWY_EXPORT(EncodeQ2KImpl);
HWY_EXPORT(EncodeQ4KImpl);
HWY_EXPORT(EncodeQ5KImpl);

void EncodeQ2K(const float* x, int64_t n, const float* importance,
               SearchLevel search, uint8_t* blocks) {
  HWY_DYNAMIC_DISPATCH(EncodeQ2KImpl)(x, n, importance, search, blocks);
}

void EncodeQ4K(const float* x, int64_t n, const float* importance,
               SearchLevel search, uint8_t* blocks) {
  HWY_DYNAMIC_DISPATCH(EncodeQ4KImpl)(x, n, importance, search, blocks);
}

void EncodeQ5K(const float* x, int64_t n, const float* importance,
               SearchLevel search, uint8_t* blocks) {
  HWY_DYNAMIC_DISPATCH(EncodeQ5KImpl)(x, n, importance, search, blocks);
}

}  // namespace quant
#endif  // HWY_ONCE

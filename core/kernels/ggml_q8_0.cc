// Q8_0: 32 weights, one scale, 8-bit integers.
//
//   x_hat = d * q,   q = clamp(rint(x / d), -127, 127),   d = f16(peak / 127)
//
// Layout, 34 bytes: d f16; 32 signed bytes.
// Source: the ggml block type of this name. Differences from the reference: q
// is found with the stored d, not with the one before rounding, ties go to
// even, and a scale beyond the range of f16 saturates. There is no search: half
// a step of 1/127 of the peak leaves nothing to find.
//
// Legend: 16 blocks at a time; r register of 16 weights.
#include <cstdint>

#include "core/kernels/ggml_blocks.h"
#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/ggml_q8_0.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/ggml_peaks-inl.h"
#include "core/kernels/ggml_stored_scales-inl.h"
#include "core/kernels/ggml_tile-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

constexpr int kQ80Bytes = 34;

// x [count, 32] -> scales. Whether no quotient can round to more than 127:
// where d neither saturates nor is subnormal, its rounding moves 127 by less
// than 1/16.
HWY_INLINE bool ChooseScales(const float* x, int64_t count,
                             StoredScales& scales) {
  const DF df;
  const DI di;
  alignas(64) float peaks[kBatchBlocks] = {};
  PeaksOfBlocks(x, count, peaks);
  for (int64_t b = 0; b < count; b += kFloatLanes) {
    const VF peak = hn::Abs(hn::Load(df, peaks + b));
    hn::Store(hn::Div(peak, hn::Set(df, 127.0f)), df, scales.exact + b);
  }
  scales.Round(count);
  bool regular = true;
  for (int64_t b = 0; b < count; b += kFloatLanes) {
    const VI code = hn::Load(di, scales.codes + b);
    regular &=
        hn::AllTrue(di, hn::Or(hn::Eq(code, hn::Zero(di)),
                               hn::And(hn::Gt(code, hn::Set(di, 0x3FF)),
                                       hn::Lt(code, hn::Set(di, 0x7BFF)))));
  }
  return regular;
}

template <bool kClamp, class Sums>
HWY_INLINE void StoreBlock(const float* x, float scale, float inverse,
                           Sums& sums, uint8_t* codes) {
  const DF df;
  const VF magic = hn::Set(df, 0x1.8p23f);
  const hn::Rebind<uint8_t, DU> d8;
  HWY_UNROLL(2)
  for (int e = 0; e < kTileElems; e += kFloatLanes) {
    const VF value = hn::LoadU(df, x + e);
    VF t = hn::Mul(value, hn::Set(df, inverse));
    if constexpr (kClamp) t = Clamp(t, -127, 127);
    // The low byte of the sum is the integer.
    const VF rounded = hn::Add(t, magic);
    hn::StoreU(hn::TruncateTo(d8, hn::BitCast(DU(), rounded)), d8, codes + e);
    const VF back = hn::Mul(hn::Sub(rounded, magic), hn::Set(df, scale));
    sums.Add(e / kFloatLanes % kRegisters, value, hn::Sub(back, value));
  }
}

template <bool kClamp>
HWY_INLINE void StoreBlocks(const float* x, const StoredScales& s,
                            int64_t count, uint8_t* out, Accumulators& acc) {
  const auto encode = [&](int64_t i, int64_t n,
                          auto& sums) QUANT_INLINE_LAMBDA {
    for (int64_t b = i / kTileElems; b < (i + n) / kTileElems; ++b) {
      uint8_t* block = out + b * kQ80Bytes;
      StoreF16(s.codes[b], block);
      StoreBlock<kClamp>(x + b * kTileElems, s.values[b], s.inverses[b], sums,
                         block + 2);
    }
  };
  AddInRuns(count * kTileElems, acc, encode);
}

// `count` <= kBatchBlocks.
HWY_INLINE void EncodeBatch(const float* x, int64_t count, uint8_t* out,
                            Accumulators& sums) {
  StoredScales scales;
  if (HWY_LIKELY(ChooseScales(x, count, scales))) {
    StoreBlocks<false>(x, scales, count, out, sums);
  } else {
    StoreBlocks<true>(x, scales, count, out, sums);
  }
}

void EncodeQ80(const float* x, int64_t n, uint8_t* out, LaneSums& lanes) {
  Accumulators sums(lanes);
  const int64_t blocks = n / kTileElems;
  for (int64_t begin = 0; begin < blocks; begin += kBatchBlocks) {
    EncodeBatch(x + begin * kTileElems,
                std::min<int64_t>(kBatchBlocks, blocks - begin),
                out + begin * kQ80Bytes, sums);
  }
  sums.Store(lanes);
}

void DecodeQ80(const uint8_t* blocks, int64_t n, float* out) {
  const DF df;
  const DI di;
  const hn::Rebind<int8_t, DI> d8;
  for (int64_t i = 0; i < n; i += kTileElems, blocks += kQ80Bytes) {
    const VF d = hn::Set(df, LoadF16(blocks));
    for (int e = 0; e < kTileElems; e += kFloatLanes) {
      const auto q =
          hn::LoadU(d8, reinterpret_cast<const int8_t*>(blocks + 2 + e));
      hn::StoreU(hn::Mul(hn::ConvertTo(df, hn::PromoteTo(di, q)), d), df,
                 out + i + e);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {
HWY_EXPORT(EncodeQ80);
HWY_EXPORT(DecodeQ80);

void EncodeQ8_0(const float* x, int64_t n, const float* /*importance*/,
                SearchLevel /*search*/, uint8_t* blocks, LaneSums& sums) {
  HWY_DYNAMIC_DISPATCH(EncodeQ80)(x, n, blocks, sums);
}
void DecodeQ8_0(const uint8_t* blocks, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeQ80)(blocks, n, out);
}
}  // namespace quant
#endif  // HWY_ONCE

// Scales of many blocks of 32, as they are stored: f16, one per block. Dividing
// and rounding are long chains of instructions; those of many blocks, one after
// the other, overlap.
//
// Legend: as ggml_tile-inl.h.
//
// Included once per target by each kernel file (hence the toggled guard).
#if defined(QUANT_CORE_KERNELS_GGML_STORED_SCALES_INL_H_) == \
    defined(HWY_TARGET_TOGGLE)
#ifdef QUANT_CORE_KERNELS_GGML_STORED_SCALES_INL_H_
#undef QUANT_CORE_KERNELS_GGML_STORED_SCALES_INL_H_
#else
#define QUANT_CORE_KERNELS_GGML_STORED_SCALES_INL_H_
#endif

#include <cstdint>

#include "core/kernels/ggml_pack-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kBatchTiles = 4;
constexpr int kBatchBlocks = kBatchTiles * kTileBlocks;

struct StoredScales {
  alignas(64) float exact[kBatchBlocks];
  alignas(64) int32_t codes[kBatchBlocks];   // f16
  alignas(64) float values[kBatchBlocks];    // of codes
  alignas(64) float inverses[kBatchBlocks];  // 1 / value, or 0

  // exact -> the others, of `count` blocks and those up to a whole register.
  HWY_INLINE void Round(int64_t count) {
    const DF df;
    for (int64_t b = 0; b < count; b += kFloatLanes) {
      const VI code = F16Codes(hn::Load(df, exact + b));
      const VF value = F16Values(code);
      hn::Store(code, DI(), codes + b);
      hn::Store(value, df, values + b);
      hn::Store(InverseOrZero(value), df, inverses + b);
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

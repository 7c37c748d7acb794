// Decoders of the K-quant block types. Formula and layouts: ggml_k_blocks.h.
#include "core/kernels/ggml_blocks.h"
#include "core/kernels/ggml_k_blocks.h"
#include "core/kernels/lane_sums.h"
#include "core/kernels/simd.h"
#include "core/tensor/float_formats.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/ggml_k_decode.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

// Shared by all targets.
#ifndef QUANT_CORE_KERNELS_GGML_K_DECODE_ONCE_
#define QUANT_CORE_KERNELS_GGML_K_DECODE_ONCE_
namespace quant {
struct KLayout {
  void (*unpack)(const uint8_t*, KBlock&);
  int bytes;
  int elems;  // of a sub-block
  int zero;   // the code of zero
  bool has_min;
};
}  // namespace quant
#endif

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void DecodeKImpl(const KLayout& layout, const uint8_t* blocks, int64_t n,
                 float* out) {
  const hn::CappedTag<float, kVirtualLanes> df;
  const hn::RebindToSigned<decltype(df)> di;
  const hn::Rebind<uint8_t, decltype(di)> d8;
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(df));
  const auto zero = hn::Set(di, layout.zero);
  KBlock block;
  for (; n > 0; n -= kKElems, blocks += layout.bytes, out += kKElems) {
    layout.unpack(blocks, block);
    const float d = F16ToF32(block.d);
    const float dmin = layout.has_min ? F16ToF32(block.dmin) : 0.0f;
    for (int j = 0; j < kKElems / layout.elems; ++j) {
      const auto scale = hn::Set(df, d * block.scale[j]);
      const auto min = hn::Set(df, layout.has_min ? dmin * block.min[j] : 0.0f);
      for (int i = j * layout.elems; i < (j + 1) * layout.elems; i += kLanes) {
        const auto code = hn::PromoteTo(di, hn::LoadU(d8, block.code + i));
        const auto value =
            hn::Mul(hn::ConvertTo(df, hn::Sub(code, zero)), scale);
        hn::StoreU(hn::Sub(value, min), df, out + i);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {
namespace {

HWY_EXPORT(DecodeKImpl);

void Decode(const KLayout& layout, const uint8_t* blocks, int64_t n,
            float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeKImpl)(layout, blocks, n, out);
}

}  // namespace

void DecodeQ2K(const uint8_t* blocks, int64_t n, float* out) {
  Decode({UnpackQ2K, kQ2KBytes, 16, 0, true}, blocks, n, out);
}

void DecodeQ3K(const uint8_t* blocks, int64_t n, float* out) {
  Decode({UnpackQ3K, kQ3KBytes, 16, 4, false}, blocks, n, out);
}

void DecodeQ4K(const uint8_t* blocks, int64_t n, float* out) {
  Decode({UnpackQ4K, kQ4KBytes, 32, 0, true}, blocks, n, out);
}

void DecodeQ5K(const uint8_t* blocks, int64_t n, float* out) {
  Decode({UnpackQ5K, kQ5KBytes, 32, 0, true}, blocks, n, out);
}

void DecodeQ6K(const uint8_t* blocks, int64_t n, float* out) {
  Decode({UnpackQ6K, kQ6KBytes, 16, 32, false}, blocks, n, out);
}

}  // namespace quant
#endif  // HWY_ONCE

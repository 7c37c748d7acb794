// Decoding of blocks whose codes lie in nibbles: byte j holds element j below
// and element j + 16 above.
//
// Included once per target by each kernel file (hence the toggled guard).
#if defined(QUANT_CORE_KERNELS_GGML_UNPACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANT_CORE_KERNELS_GGML_UNPACK_INL_H_
#undef QUANT_CORE_KERNELS_GGML_UNPACK_INL_H_
#else
#define QUANT_CORE_KERNELS_GGML_UNPACK_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "core/kernels/accumulate-inl.h"
#include "core/tensor/float_formats.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

HWY_INLINE float LoadF16(const uint8_t* bytes) {
  uint16_t code;
  std::memcpy(&code, bytes, sizeof(code));
  return F16ToF32(code);
}

// bytes [16] -> out [32] = value(codes), where value takes and gives one
// register. Bit e of `high` is the fifth bit of element e.
template <bool kFifth, class Value>
HWY_INLINE void UnpackNibbles(const uint8_t* bytes, uint32_t high,
                              const Value& value, float* out) {
  const DI di;
  const DU du;
  const hn::Rebind<uint8_t, DI> d8;
  for (int j = 0; j < 16; j += kFloatLanes) {
    const auto pair = hn::PromoteTo(di, hn::LoadU(d8, bytes + j));
    auto below = hn::And(pair, hn::Set(di, 15));
    auto above = hn::ShiftRight<4>(pair);
    if constexpr (kFifth) {
      const auto bits =
          hn::Shr(hn::Set(du, high), hn::Iota(du, static_cast<uint32_t>(j)));
      const auto bit = hn::Set(du, 16);
      below =
          hn::Or(below, hn::BitCast(di, hn::And(hn::ShiftLeft<4>(bits), bit)));
      above = hn::Or(above,
                     hn::BitCast(di, hn::And(hn::ShiftRight<12>(bits), bit)));
    }
    hn::StoreU(value(below), DF(), out + j);
    hn::StoreU(value(above), DF(), out + j + 16);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

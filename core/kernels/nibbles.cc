#include "core/kernels/nibbles.h"

#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/nibbles.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Answers how many pairs it did: a multiple of the vector's lanes. A pair in
// memory is the little-endian number first | second << 8.
template <bool kHighFirst>
HWY_INLINE int64_t PackWhole(const uint8_t* codes, int64_t pairs,
                             uint8_t* out) {
  const hn::ScalableTag<uint16_t> du16;
  const hn::RebindToSigned<decltype(du16)> di16;
  const hn::Rebind<uint8_t, decltype(di16)> du8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(du16));
  int64_t i = 0;
  for (; i + lanes <= pairs; i += lanes) {
    const auto both =
        hn::LoadU(du16, reinterpret_cast<const uint16_t*>(codes + 2 * i));
    const auto bytes =
        kHighFirst ? hn::Or(hn::ShiftLeft<4>(both), hn::ShiftRight<8>(both))
                   : hn::Or(both, hn::ShiftRight<4>(both));
    const auto low = hn::And(bytes, hn::Set(du16, 0x00FF));
    hn::StoreU(hn::DemoteTo(du8, hn::BitCast(di16, low)), du8, out + i);
  }
  return i;
}

int64_t PackLowFirst(const uint8_t* codes, int64_t pairs, uint8_t* out) {
  return PackWhole<false>(codes, pairs, out);
}

int64_t PackHighFirst(const uint8_t* codes, int64_t pairs, uint8_t* out) {
  return PackWhole<true>(codes, pairs, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {

HWY_EXPORT(PackLowFirst);
HWY_EXPORT(PackHighFirst);

void PackPairs(const uint8_t* codes, int64_t n, NibbleOrder order,
               uint8_t* out) {
  const bool high = order == NibbleOrder::kHighFirst;
  const int64_t done =
      high ? HWY_DYNAMIC_DISPATCH(PackHighFirst)(codes, n / 2, out)
           : HWY_DYNAMIC_DISPATCH(PackLowFirst)(codes, n / 2, out);
  for (int64_t i = 2 * done; i < n; i += 2) {
    const int first = codes[i], second = i + 1 < n ? codes[i + 1] : 0;
    out[i / 2] =
        static_cast<uint8_t>(high ? first << 4 | second : second << 4 | first);
  }
}

void UnpackPairs(const uint8_t* packed, int64_t n, NibbleOrder order,
                 uint8_t* codes) {
  const int first = order == NibbleOrder::kHighFirst ? 4 : 0;
  for (int64_t i = 0; i < n; ++i) {
    const int shift = i % 2 == 0 ? first : 4 - first;
    codes[i] = static_cast<uint8_t>((packed[i / 2] >> shift) & 15);
  }
}

}  // namespace quant
#endif  // HWY_ONCE

#include "core/kernels/pack.h"

#include <cstring>

#include "core/base/checked_math.h"
#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/pack.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// n even: two codes to a byte, the first in the low nibble. Adding 8 to a 4-bit
// two's complement number is flipping its top bit.
void PackNibbles(const int8_t* codes, int64_t n, uint8_t* out) {
  const hn::ScalableTag<uint16_t> du16;
  const hn::RebindToSigned<decltype(du16)> di16;
  const hn::Rebind<uint8_t, decltype(di16)> du8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(du16));
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto pairs =
        hn::LoadU(du16, reinterpret_cast<const uint16_t*>(codes + i));
    const auto nibbles =
        hn::Xor(hn::And(pairs, hn::Set(du16, 0x0F0F)), hn::Set(du16, 0x0808));
    const auto bytes = hn::And(hn::Or(nibbles, hn::ShiftRight<4>(nibbles)),
                               hn::Set(du16, 0x00FF));
    hn::StoreU(hn::DemoteTo(du8, hn::BitCast(di16, bytes)), du8, out + i / 2);
  }
  for (; i < n; i += 2) {
    out[i / 2] = static_cast<uint8_t>((((codes[i] & 15) ^ 8)) |
                                      (((codes[i + 1] & 15) ^ 8) << 4));
  }
}

// u = q + 128: flips the top bit.
void PackBytes(const int8_t* codes, int64_t n, uint8_t* out) {
  const hn::ScalableTag<uint8_t> du8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(du8));
  const uint8_t* in = reinterpret_cast<const uint8_t*>(codes);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Xor(hn::LoadU(du8, in + i), hn::Set(du8, 0x80)), du8,
               out + i);
  }
  for (; i < n; ++i) out[i] = in[i] ^ 0x80;
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {
namespace {

HWY_EXPORT(PackNibbles);
HWY_EXPORT(PackBytes);

// Any width: bits are collected in a 64-bit word and written 32 at a time.
void PackStream(const int8_t* codes, int64_t n, int bits, uint8_t* out) {
  const uint32_t offset = 1u << (bits - 1);
  const uint32_t mask = (1u << bits) - 1;
  uint64_t pending = 0;
  int pending_bits = 0;
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t u = (static_cast<uint32_t>(codes[i]) + offset) & mask;
    pending |= static_cast<uint64_t>(u) << pending_bits;
    pending_bits += bits;
    if (pending_bits >= 32) {
      const uint32_t word = static_cast<uint32_t>(pending);
      std::memcpy(out, &word, 4);
      out += 4;
      pending >>= 32;
      pending_bits -= 32;
    }
  }
  if (pending_bits > 0) {
    const uint32_t word = static_cast<uint32_t>(pending);
    std::memcpy(out, &word, 4);
  }
}

uint32_t WordAt(const uint8_t* words, int64_t index) {
  uint32_t word;
  std::memcpy(&word, words + 4 * index, 4);
  return word;
}

// The b bits at `bit` of a stream whose word k is words[k * stride].
int8_t CodeAt(const uint8_t* words, int64_t bit, int bits, int64_t stride) {
  const int64_t word = bit / 32;
  const int shift = static_cast<int>(bit % 32);
  uint64_t value = WordAt(words, word * stride);
  if (shift + bits > 32) {
    value |= static_cast<uint64_t>(WordAt(words, (word + 1) * stride)) << 32;
  }
  const int u = static_cast<int>((value >> shift) & ((1u << bits) - 1));
  return static_cast<int8_t>(u - (1 << (bits - 1)));
}

}  // namespace

int64_t PackedWords(int64_t n, int bits) { return CeilDiv(n * bits, 32); }

void PackRows(const int8_t* codes, int64_t rows, int64_t n, int bits,
              uint8_t* out) {
  const bool whole_words = (n * bits) % 32 == 0;
  if (bits == 8 && whole_words) {
    HWY_DYNAMIC_DISPATCH(PackBytes)(codes, rows * n, out);
    return;
  }
  if (bits == 4 && whole_words) {
    HWY_DYNAMIC_DISPATCH(PackNibbles)(codes, rows * n, out);
    return;
  }
  const int64_t row_bytes = 4 * PackedWords(n, bits);
  for (int64_t r = 0; r < rows; ++r) {
    PackStream(codes + r * n, n, bits, out + r * row_bytes);
  }
}

void UnpackRows(const uint8_t* packed, int64_t rows, int64_t n, int bits,
                int8_t* codes) {
  const int64_t row_bytes = 4 * PackedWords(n, bits);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < n; ++i) {
      codes[r * n + i] = CodeAt(packed + r * row_bytes, i * bits, bits, 1);
    }
  }
}

void PackColumns(const int8_t* codes, int64_t rows, int64_t columns, int bits,
                 uint8_t* out) {
  std::memset(out, 0, 4 * PackedWords(rows, bits) * columns);
  const uint32_t offset = 1u << (bits - 1);
  const uint32_t mask = (1u << bits) - 1;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t bit = r * bits;
    for (int64_t c = 0; c < columns; ++c) {
      const uint64_t u =
          static_cast<uint64_t>((codes[r * columns + c] + offset) & mask)
          << (bit % 32);
      for (int half = 0; half < 2; ++half) {
        const uint32_t part = static_cast<uint32_t>(u >> (32 * half));
        if (part == 0) continue;
        uint8_t* at = out + 4 * ((bit / 32 + half) * columns + c);
        const uint32_t word = WordAt(at, 0) | part;
        std::memcpy(at, &word, 4);
      }
    }
  }
}

void UnpackColumns(const uint8_t* packed, int64_t rows, int64_t columns,
                   int bits, int8_t* codes) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      codes[r * columns + c] = CodeAt(packed + 4 * c, r * bits, bits, columns);
    }
  }
}

int64_t LooseWords(int64_t n, int bits) { return CeilDiv(n, 32 / bits); }

void UnpackLooseRows(const uint8_t* packed, int64_t rows, int64_t n, int bits,
                     int8_t* codes) {
  const int64_t per_word = 32 / bits;
  const int64_t row_bytes = 4 * LooseWords(n, bits);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < n; ++i) {
      codes[r * n + i] =
          CodeAt(packed + r * row_bytes,
                 i / per_word * 32 + i % per_word * bits, bits, 1);
    }
  }
}

void UnpackLooseColumns(const uint8_t* packed, int64_t rows, int64_t columns,
                        int bits, int8_t* codes) {
  const int64_t per_word = 32 / bits;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t bit = r / per_word * 32 + r % per_word * bits;
    for (int64_t c = 0; c < columns; ++c) {
      codes[r * columns + c] = CodeAt(packed + 4 * c, bit, bits, columns);
    }
  }
}

}  // namespace quant
#endif  // HWY_ONCE

#include "tests/core/kernels/block_twins.h"

#include <cmath>

#include "core/tensor/float_formats.h"

namespace quant {
namespace {

constexpr float kIq4Table[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                 1,    13,   25,  38,  53,  69,  89,  113};
constexpr float kFp4Table[16] = {0, 0.5f,  1,  1.5f,  2,  3,  4,  6,
                                 0, -0.5f, -1, -1.5f, -2, -3, -4, -6};

float HalfAt(const uint8_t* bytes) {
  return F16ToF32(static_cast<uint16_t>(bytes[0] | bytes[1] << 8));
}

// The four bits of element e among 16 bytes.
int Nibble(const uint8_t* bytes, int e) {
  return e < 16 ? bytes[e] & 15 : bytes[e - 16] >> 4;
}

int FifthBit(const uint8_t* bytes, int e) {
  return bytes[e / 8] >> (e % 8) & 1;
}

// Digit e of a TQ1_0 block.
int Trit(const uint8_t* block, int e) {
  int byte, digit;
  if (e < 160) {
    byte = e % 32;
    digit = e / 32;
  } else if (e < 240) {
    byte = 32 + (e - 160) % 16;
    digit = (e - 160) / 16;
  } else {
    byte = 48 + (e - 240) % 4;
    digit = (e - 240) / 4;
  }
  int power = 1;
  for (int i = 0; i < digit; ++i) power *= 3;
  return (block[byte] * power % 256) * 3 / 256;
}

int CodeOf(GgmlType type, const uint8_t* block, int e) {
  switch (type) {
    case GgmlType::kQ4_0:
    case GgmlType::kIQ4_NL:
      return Nibble(block + 2, e);
    case GgmlType::kQ4_1:
      return Nibble(block + 4, e);
    case GgmlType::kQ5_0:
      return Nibble(block + 6, e) | FifthBit(block + 2, e) << 4;
    case GgmlType::kQ5_1:
      return Nibble(block + 8, e) | FifthBit(block + 4, e) << 4;
    case GgmlType::kQ8_0:
      return static_cast<int8_t>(block[2 + e]);
    case GgmlType::kIQ4_XS:
      return Nibble(block + 8 + 16 * (e / 32), e % 32);
    case GgmlType::kTQ1_0:
      return Trit(block, e);
    case GgmlType::kTQ2_0:
      return block[32 * (e / 128) + e % 32] >> (2 * (e % 128 / 32)) & 3;
    default:  // MXFP4
      return Nibble(block + 1, e);
  }
}

float Iq4XsScale(const uint8_t* block, int e) {
  const int g = e / 32;
  const int low = block[4 + g / 2] >> (4 * (g % 2)) & 15;
  const int high = (block[2] | block[3] << 8) >> (2 * g) & 3;
  return HalfAt(block) * static_cast<float>((low | high << 4) - 32);
}

float ValueOf(GgmlType type, const uint8_t* block, int e, int code) {
  const float q = static_cast<float>(code);
  switch (type) {
    case GgmlType::kQ4_0:
      return HalfAt(block) * (q - 8);
    case GgmlType::kQ5_0:
      return HalfAt(block) * (q - 16);
    case GgmlType::kQ4_1:
    case GgmlType::kQ5_1:
      return HalfAt(block) * q + HalfAt(block + 2);
    case GgmlType::kQ8_0:
      return HalfAt(block) * q;
    case GgmlType::kIQ4_NL:
      return HalfAt(block) * kIq4Table[code];
    case GgmlType::kIQ4_XS:
      return Iq4XsScale(block, e) * kIq4Table[code];
    case GgmlType::kTQ1_0:
      return HalfAt(block + 52) * (q - 1);
    case GgmlType::kTQ2_0:
      return HalfAt(block + 64) * (q - 1);
    default:  // MXFP4
      return static_cast<float>(std::ldexp(kFp4Table[code], block[0] - 127));
  }
}

// Codes from `first` up to and without `last`.
struct CodeRange {
  int first, last;
};

CodeRange CodesOf(GgmlType type) {
  switch (type) {
    case GgmlType::kQ5_0:
    case GgmlType::kQ5_1:
      return {0, 32};
    case GgmlType::kQ8_0:
      return {-127, 128};
    case GgmlType::kTQ1_0:
    case GgmlType::kTQ2_0:
      return {0, 3};
    default:
      return {0, 16};
  }
}

}  // namespace

std::vector<GgmlType> TwinTypes() {
  return {GgmlType::kQ4_0,   GgmlType::kQ4_1,  GgmlType::kQ5_0,
          GgmlType::kQ5_1,   GgmlType::kQ8_0,  GgmlType::kIQ4_NL,
          GgmlType::kIQ4_XS, GgmlType::kTQ1_0, GgmlType::kTQ2_0,
          GgmlType::kMXFP4};
}

float TwinValue(GgmlType type, const uint8_t* block, int e) {
  return ValueOf(type, block, e, CodeOf(type, block, e));
}

std::vector<float> TwinGrid(GgmlType type, const uint8_t* block, int e) {
  const CodeRange codes = CodesOf(type);
  std::vector<float> values;
  for (int code = codes.first; code < codes.last; ++code) {
    values.push_back(ValueOf(type, block, e, code));
  }
  return values;
}

bool TwinScalesAreFinite(GgmlType type, const uint8_t* block) {
  switch (type) {
    case GgmlType::kMXFP4:
      return block[0] != 0xFF;
    case GgmlType::kQ4_1:
    case GgmlType::kQ5_1:
      return std::isfinite(HalfAt(block)) && std::isfinite(HalfAt(block + 2));
    case GgmlType::kTQ1_0:
      return std::isfinite(HalfAt(block + 52));
    case GgmlType::kTQ2_0:
      return std::isfinite(HalfAt(block + 64));
    default:
      return std::isfinite(HalfAt(block));
  }
}

}  // namespace quant

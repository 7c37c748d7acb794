#include "core/tensor/float_formats.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <ostream>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace quant {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// One type behind 32-bit codes, sign bit at the top.
struct Format {
  const char* name;
  int bits;
  int mantissa_bits;
  int bias;
  uint32_t largest;   // magnitude code of the largest finite value
  uint32_t overflow;  // magnitude code of what rounds beyond it
  float (*decode)(uint32_t);
  uint32_t (*encode)(float);

  uint32_t sign() const { return 1u << (bits - 1); }
  friend std::ostream& operator<<(std::ostream& out, const Format& format) {
    return out << format.name;
  }
};

const Format kFormats[] = {
    {"BF16", 16, 7, 127, 0x7F7F, 0x7F80,
     [](uint32_t c) { return Bf16ToF32(static_cast<uint16_t>(c)); },
     [](float v) -> uint32_t { return F32ToBf16(v); }},
    {"F16", 16, 10, 15, 0x7BFF, 0x7C00,
     [](uint32_t c) { return F16ToF32(static_cast<uint16_t>(c)); },
     [](float v) -> uint32_t { return F32ToF16(v); }},
    {"E4M3", 8, 3, 7, 0x7E, 0x7E,
     [](uint32_t c) { return E4m3ToF32(static_cast<uint8_t>(c)); },
     [](float v) -> uint32_t { return F32ToE4m3(v); }},
    {"E5M2", 8, 2, 15, 0x7B, 0x7B,
     [](uint32_t c) { return E5m2ToF32(static_cast<uint8_t>(c)); },
     [](float v) -> uint32_t { return F32ToE5m2(v); }},
};

// The definition, in double: (hidden bit + fraction) 2^exponent.
double Value(const Format& format, uint32_t magnitude) {
  const int exponent = static_cast<int>(magnitude >> format.mantissa_bits);
  const double fraction = std::ldexp(
      static_cast<double>(magnitude & ((1u << format.mantissa_bits) - 1)),
      -format.mantissa_bits);
  return std::ldexp(fraction + (exponent > 0 ? 1 : 0),
                    std::max(exponent, 1) - format.bias);
}

class FloatFormatTest : public testing::TestWithParam<Format> {};

TEST_P(FloatFormatTest, DecodesEveryFiniteCodeAsDefined) {
  const Format& format = GetParam();
  for (uint32_t code = 0; code <= format.largest; ++code) {
    ASSERT_EQ(format.decode(code), Value(format, code)) << code;
    ASSERT_EQ(format.decode(code | format.sign()), -Value(format, code))
        << code;
    ASSERT_TRUE(std::signbit(format.decode(code | format.sign())));
  }
}

TEST_P(FloatFormatTest, EveryCodeSurvivesARoundTrip) {
  const Format& format = GetParam();
  for (uint32_t code = 0; code < 2 * format.sign(); ++code) {
    const float value = format.decode(code);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(format.decode(format.encode(value)))) << code;
    } else if (std::isinf(value)) {
      ASSERT_EQ(format.encode(value) & ~format.sign(), format.overflow);
    } else {
      ASSERT_EQ(format.encode(value), code);
    }
  }
}

TEST_P(FloatFormatTest, MidpointsGoToTheEvenCodeAndTheirNeighboursToTheirs) {
  const Format& format = GetParam();
  for (uint32_t code = 0; code < format.largest; ++code) {
    const double middle = (Value(format, code) + Value(format, code + 1)) / 2;
    const float exact = static_cast<float>(middle);
    ASSERT_EQ(exact, middle);  // float32 has the bits for it
    const uint32_t even = code % 2 == 0 ? code : code + 1;
    for (uint32_t sign : {0u, format.sign()}) {
      const float s = sign != 0 ? -1.0f : 1.0f;
      ASSERT_EQ(format.encode(s * exact), sign | even) << code;
      ASSERT_EQ(format.encode(s * std::nextafter(exact, 0.0f)), sign | code);
      ASSERT_EQ(format.encode(s * std::nextafter(exact, kInfinity)),
                sign | (code + 1));
    }
  }
}

TEST_P(FloatFormatTest, LargeValuesOverflowAndTinyOnesVanish) {
  const Format& format = GetParam();
  const float largest = format.decode(format.largest);
  const double step =
      Value(format, format.largest) - Value(format, format.largest - 1);
  const float beyond = static_cast<float>(largest + step / 2);
  EXPECT_EQ(format.encode(std::nextafter(beyond, 0.0f)), format.largest);
  EXPECT_EQ(format.encode(std::nextafter(beyond, kInfinity)), format.overflow);
  for (float value : {std::numeric_limits<float>::max(), kInfinity}) {
    EXPECT_EQ(format.encode(value), format.overflow) << value;
    EXPECT_EQ(format.encode(-value), format.overflow | format.sign());
  }
  EXPECT_EQ(format.encode(std::numeric_limits<float>::denorm_min()), 0u);
  EXPECT_EQ(format.encode(-std::numeric_limits<float>::denorm_min()),
            format.sign());
}

TEST_P(FloatFormatTest, NanStaysNanWithItsSign) {
  const Format& format = GetParam();
  // Quiet, signalling with its only bit below the kept mantissa, all ones.
  for (uint32_t bits : {0x7FC00000u, 0x7F800001u, 0x7FFFFFFFu}) {
    for (uint32_t sign : {0u, 0x80000000u}) {
      const uint32_t code = format.encode(std::bit_cast<float>(bits | sign));
      EXPECT_TRUE(std::isnan(format.decode(code))) << std::hex << bits;
      EXPECT_EQ((code & format.sign()) != 0, sign != 0);
    }
  }
}

TEST_P(FloatFormatTest, RandomValuesGoToTheNearest) {
  const Format& format = GetParam();
  std::mt19937 random(7);
  for (int i = 0; i < 200'000; ++i) {
    const uint32_t bits = static_cast<uint32_t>(random()) & 0x7FFFFFFF;
    const float value = std::bit_cast<float>(bits);
    if (!(value <= Value(format, format.largest))) continue;
    const uint32_t code = format.encode(value);
    const double error = std::abs(value - Value(format, code));
    if (code > 0) {
      ASSERT_LE(error, std::abs(value - Value(format, code - 1))) << value;
    }
    if (code < format.largest) {
      ASSERT_LE(error, std::abs(value - Value(format, code + 1))) << value;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, FloatFormatTest, testing::ValuesIn(kFormats),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST(Bf16Test, QuietsNan) {
  EXPECT_EQ(F32ToBf16(std::bit_cast<float>(0x7F800001u)), 0x7FC0);
  EXPECT_EQ(F32ToBf16(std::bit_cast<float>(0xFF812345u)), 0xFFC1);
}

TEST(F16Test, KnownValues) {
  EXPECT_EQ(F32ToF16(1.0f), 0x3C00);
  EXPECT_EQ(F32ToF16(-2.0f), 0xC000);
  EXPECT_EQ(F32ToF16(65504.0f), 0x7BFF);
  EXPECT_EQ(F32ToF16(65519.996f), 0x7BFF);
  EXPECT_EQ(F32ToF16(65520.0f), 0x7C00);
  EXPECT_EQ(F32ToF16(0x1p-24f), 0x0001);
  EXPECT_EQ(F32ToF16(0x1p-25f), 0x0000);
  EXPECT_EQ(F32ToF16(0x1.8p-25f), 0x0001);
}

TEST(E4m3Test, KnownValues) {
  EXPECT_EQ(E4m3ToF32(0x7E), 448.0f);
  EXPECT_EQ(E4m3ToF32(0x01), 0x1p-9f);
  EXPECT_TRUE(std::isnan(E4m3ToF32(0x7F)));
  EXPECT_TRUE(std::isnan(E4m3ToF32(0xFF)));
  EXPECT_EQ(F32ToE4m3(1.0f), 0x38);
  EXPECT_EQ(F32ToE4m3(1e9f), 0x7E);
  EXPECT_EQ(F32ToE4m3(-1e9f), 0xFE);
}

TEST(E5m2Test, KnownValues) {
  EXPECT_EQ(E5m2ToF32(0x7B), 57344.0f);
  EXPECT_EQ(E5m2ToF32(0x01), 0x1p-16f);
  EXPECT_EQ(E5m2ToF32(0x7C), kInfinity);
  EXPECT_EQ(E5m2ToF32(0xFC), -kInfinity);
  EXPECT_EQ(F32ToE5m2(1.0f), 0x3C);
  EXPECT_EQ(F32ToE5m2(-kInfinity), 0xFB);
}

TEST(E8m0Test, EveryCodeIsAPowerOfTwoAndSurvives) {
  for (int code = 0; code < 255; ++code) {
    const float value = E8m0ToF32(static_cast<uint8_t>(code));
    ASSERT_EQ(value, std::ldexp(1.0f, code - 127));
    ASSERT_EQ(F32ToE8m0(value), code);
    ASSERT_EQ(F32ToE8m0(std::nextafter(value, kInfinity)), code);
    if (code > 0) {
      ASSERT_EQ(F32ToE8m0(std::nextafter(value, 0.0f)), code - 1);
    }
  }
  EXPECT_TRUE(std::isnan(E8m0ToF32(0xFF)));
  EXPECT_EQ(F32ToE8m0(std::numeric_limits<float>::quiet_NaN()), 0xFF);
  EXPECT_EQ(F32ToE8m0(kInfinity), 0xFE);
  EXPECT_EQ(F32ToE8m0(0.0f), 0);
}

// The smallest representable value that covers, at every value of the type and
// right beside it.
void CheckRoundUp(const Format& format, float (*round_up)(float)) {
  for (uint32_t code = 0; code < format.largest; ++code) {
    const float value = format.decode(code);
    const float next = format.decode(code + 1);
    ASSERT_EQ(round_up(value), value) << code;
    ASSERT_EQ(round_up(std::nextafter(value, kInfinity)), next) << code;
    ASSERT_EQ(round_up(std::nextafter(next, 0.0f)), next) << code;
    ASSERT_EQ(round_up(value + (next - value) / 2), next) << code;
  }
  const float largest = format.decode(format.largest);
  EXPECT_EQ(round_up(largest), largest);
  EXPECT_EQ(round_up(std::nextafter(largest, kInfinity)), largest);
  EXPECT_EQ(round_up(std::numeric_limits<float>::max()), largest);
}

TEST(RoundUpTest, Bf16IsTheSmallestThatCovers) {
  CheckRoundUp(kFormats[0], RoundUpToBf16);
}

TEST(RoundUpTest, F16IsTheSmallestThatCovers) {
  CheckRoundUp(kFormats[1], RoundUpToF16);
}

}  // namespace
}  // namespace quant

#include "core/transform/load_rows.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <limits>
#include <vector>

#include "core/tensor/float_formats.h"

namespace quant {
namespace {

template <typename T>
std::vector<uint8_t> BytesOf(const std::vector<T>& values) {
  std::vector<uint8_t> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(LoadRows, FiniteValuesAreConvertedUnchanged) {
  const std::vector<uint8_t> bytes =
      BytesOf<uint16_t>({0x3F80, 0x8000, 0x7F7F, 0x0001});
  std::vector<float> out(4);
  for (Nonfinite policy : {Nonfinite::kError, Nonfinite::kZero}) {
    const LoadResult result =
        LoadRows(DType::kBF16, bytes, policy, absl::MakeSpan(out));
    EXPECT_EQ(result.first_nonfinite, -1);
    EXPECT_EQ(result.zeroed, 0);
    EXPECT_EQ(out[0], 1.0f);
    EXPECT_EQ(std::bit_cast<uint32_t>(out[1]), 0x80000000u);
    EXPECT_EQ(std::bit_cast<uint32_t>(out[3]), 0x00010000u);
  }
}

TEST(LoadRows, NamesTheFirstAndZeroesAll) {
  const std::vector<uint8_t> bytes = BytesOf<float>(
      {1, 2, kInf, 3, std::numeric_limits<float>::quiet_NaN(), -kInf, 4});
  std::vector<float> out(7);
  EXPECT_EQ(LoadRows(DType::kF32, bytes, Nonfinite::kError, absl::MakeSpan(out))
                .first_nonfinite,
            2);
  const LoadResult zeroed =
      LoadRows(DType::kF32, bytes, Nonfinite::kZero, absl::MakeSpan(out));
  EXPECT_EQ(zeroed.first_nonfinite, 2);
  EXPECT_EQ(zeroed.zeroed, 3);
  EXPECT_EQ(out, std::vector<float>({1, 2, 0, 3, 0, 0, 4}));
}

TEST(LoadRows, AnF64BeyondFloatCountsAsNotFinite) {
  const std::vector<uint8_t> bytes = BytesOf<double>({1.5, 1e300});
  std::vector<float> out(2);
  const LoadResult result =
      LoadRows(DType::kF64, bytes, Nonfinite::kZero, absl::MakeSpan(out));
  EXPECT_EQ(result.first_nonfinite, 1);
  EXPECT_EQ(out, std::vector<float>({1.5f, 0}));
}

TEST(ScrubNonfinite, ChangesOnlyWhatIsNotFinite) {
  for (DType dtype : {DType::kF16, DType::kBF16}) {
    const uint16_t infinity = dtype == DType::kF16 ? 0x7C00 : 0x7F80;
    const uint16_t largest = static_cast<uint16_t>(infinity - 1);
    const std::vector<uint16_t> codes = {
        largest,
        infinity,
        0x8000,
        static_cast<uint16_t>(infinity + 1),
        static_cast<uint16_t>(infinity | 0x8000),
        1};
    std::vector<uint8_t> bytes = BytesOf(codes);
    EXPECT_EQ(ScrubNonfinite(dtype, Nonfinite::kError, absl::MakeSpan(bytes))
                  .first_nonfinite,
              1);
    bytes = BytesOf(codes);
    const LoadResult result =
        ScrubNonfinite(dtype, Nonfinite::kZero, absl::MakeSpan(bytes));
    EXPECT_EQ(result.zeroed, 3);
    EXPECT_EQ(bytes, BytesOf<uint16_t>({largest, 0, 0x8000, 0, 0, 1}));
  }
}

}  // namespace
}  // namespace quant

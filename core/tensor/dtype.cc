#include "core/tensor/dtype.h"

#include <iterator>

namespace quant {
namespace {

struct Row {
  absl::string_view name;
  int bits;
};

// Indexed by DType.
constexpr Row kRows[] = {
    {"BOOL", 8},        {"F4", 4},          {"F6_E2M3", 6}, {"F6_E3M2", 6},
    {"U8", 8},          {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8},
    {"F8_E8M0", 8},     {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
    {"I16", 16},        {"U16", 16},        {"F16", 16},    {"BF16", 16},
    {"I32", 32},        {"U32", 32},        {"F32", 32},    {"C64", 64},
    {"F64", 64},        {"I64", 64},        {"U64", 64},
};

}  // namespace

int DTypeBits(DType dtype) { return kRows[static_cast<int>(dtype)].bits; }

absl::string_view DTypeName(DType dtype) {
  return kRows[static_cast<int>(dtype)].name;
}

std::optional<DType> ParseDType(absl::string_view name) {
  for (size_t i = 0; i < std::size(kRows); ++i) {
    if (kRows[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

bool IsWeightFloat(DType dtype) {
  return dtype == DType::kF16 || dtype == DType::kBF16 ||
         dtype == DType::kF32 || dtype == DType::kF64;
}

}  // namespace quant

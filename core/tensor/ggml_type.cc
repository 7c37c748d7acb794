#include "core/tensor/ggml_type.h"

#include "core/base/checked_math.h"

namespace quant {
namespace {

constexpr GgmlTypeInfo kTypes[] = {
    {GgmlType::kF32, "F32", 1, 4},
    {GgmlType::kF16, "F16", 1, 2},
    {GgmlType::kQ4_0, "Q4_0", 32, 18},
    {GgmlType::kQ4_1, "Q4_1", 32, 20},
    {GgmlType::kQ5_0, "Q5_0", 32, 22},
    {GgmlType::kQ5_1, "Q5_1", 32, 24},
    {GgmlType::kQ8_0, "Q8_0", 32, 34},
    {GgmlType::kQ2_K, "Q2_K", 256, 84},
    {GgmlType::kQ3_K, "Q3_K", 256, 110},
    {GgmlType::kQ4_K, "Q4_K", 256, 144},
    {GgmlType::kQ5_K, "Q5_K", 256, 176},
    {GgmlType::kQ6_K, "Q6_K", 256, 210},
    {GgmlType::kIQ4_NL, "IQ4_NL", 32, 18},
    {GgmlType::kIQ4_XS, "IQ4_XS", 256, 136},
    {GgmlType::kI8, "I8", 1, 1},
    {GgmlType::kI16, "I16", 1, 2},
    {GgmlType::kI32, "I32", 1, 4},
    {GgmlType::kI64, "I64", 1, 8},
    {GgmlType::kF64, "F64", 1, 8},
    {GgmlType::kBF16, "BF16", 1, 2},
    {GgmlType::kTQ1_0, "TQ1_0", 256, 54},
    {GgmlType::kTQ2_0, "TQ2_0", 256, 66},
    {GgmlType::kMXFP4, "MXFP4", 32, 17},
};

}  // namespace

absl::Span<const GgmlTypeInfo> GgmlTypes() { return kTypes; }

const GgmlTypeInfo* FindGgmlType(int64_t id) {
  for (const GgmlTypeInfo& info : kTypes) {
    if (static_cast<int64_t>(info.type) == id) return &info;
  }
  return nullptr;
}

const GgmlTypeInfo* FindGgmlType(absl::string_view name) {
  for (const GgmlTypeInfo& info : kTypes) {
    if (info.name == name) return &info;
  }
  return nullptr;
}

const GgmlTypeInfo& InfoOf(GgmlType type) {
  return *FindGgmlType(static_cast<int64_t>(type));
}

std::optional<DType> DTypeOf(GgmlType type) {
  if (InfoOf(type).quantized()) return std::nullopt;
  return ParseDType(InfoOf(type).name);  // both tables use the same names
}

std::optional<GgmlType> GgmlTypeOf(DType dtype) {
  const GgmlTypeInfo* info = FindGgmlType(DTypeName(dtype));
  if (info == nullptr || info->quantized()) return std::nullopt;
  return info->type;
}

std::optional<int64_t> GgmlTensorBytes(GgmlType type, const Shape& shape) {
  const GgmlTypeInfo& info = InfoOf(type);
  const auto elements = NumElements(shape);
  const int64_t columns = shape.empty() ? 1 : shape.back();
  if (!elements || columns % info.block_elems != 0) return std::nullopt;
  // Divided first: the elements fit 63 bits, their bytes may not.
  return CheckedMul(*elements / info.block_elems, info.block_bytes);
}

}  // namespace quant

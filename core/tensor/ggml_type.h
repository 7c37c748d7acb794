// The tensor types of GGUF files. Most are block types: `block_elems` values of
// one row in `block_bytes` bytes, scales included; blocks of a row, and rows,
// follow each other without padding.
//
// Source: the ggml type table; sizes and layouts are listed in
// docs/formats.md. Types that were removed from the table, or that quantd
// neither reads nor writes, are absent.
#ifndef QUANT_CORE_TENSOR_GGML_TYPE_H_
#define QUANT_CORE_TENSOR_GGML_TYPE_H_

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/tensor/dtype.h"
#include "core/tensor/shape.h"

namespace quant {

// Values are the ids in files.
enum class GgmlType : int32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kBF16 = 30,
  kTQ1_0 = 34,
  kTQ2_0 = 35,
  kMXFP4 = 39,
};

struct GgmlTypeInfo {
  GgmlType type;
  absl::string_view name;  // "Q4_K": public spelling
  int block_elems;
  int block_bytes;

  // Whether values share scales inside blocks.
  bool quantized() const { return block_elems > 1; }
};

// All types, by ascending id.
absl::Span<const GgmlTypeInfo> GgmlTypes();
// Null when the id is none of them.
const GgmlTypeInfo* FindGgmlType(int64_t id);
const GgmlTypeInfo* FindGgmlType(absl::string_view name);
const GgmlTypeInfo& InfoOf(GgmlType type);

// The element type of tensors without blocks; nothing for block types.
std::optional<DType> DTypeOf(GgmlType type);
// The inverse; nothing for element types that GGUF files don't have.
std::optional<GgmlType> GgmlTypeOf(DType dtype);

// Bytes of a tensor, whose rows are the last dimension; nothing on overflow or
// when a row does not fill whole blocks.
std::optional<int64_t> GgmlTensorBytes(GgmlType type, const Shape& shape);

}  // namespace quant

#endif  // QUANT_CORE_TENSOR_GGML_TYPE_H_

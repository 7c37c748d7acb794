// Rows of floats <-> GGUF block types.
//
// Every encoder chooses the scales of its blocks itself, and writes codes that
// match the stored (rounded) scales. Blocks are independent of each other: any
// partition of a row at multiples of the block gives the same bytes, on every
// SIMD target.
//
// Legend: n elements of a row, a multiple of the type's block.
#ifndef QUANT_CORE_KERNELS_GGML_BLOCKS_H_
#define QUANT_CORE_KERNELS_GGML_BLOCKS_H_

#include <cstdint>

#include "core/kernels/lane_sums.h"
#include "core/tensor/ggml_type.h"

namespace quant {

// How long to look for good scales.
enum class SearchLevel {
  kDefault,  // weighted error at or below what the reference's search reaches
  kFast,     // error at or below that of the reference without weights
};

// x [n] finite -> blocks [n / block_elems * block_bytes]. `importance` [n]: one
// weight >= 0 per input column, or null for equal weights.
using EncodeBlocks = void (*)(const float* x, int64_t n,
                              const float* importance, SearchLevel search,
                              uint8_t* blocks);
// The same, and adds the errors as AddErrors does (error_sums.h), bit by bit.
using EncodeMeasured = void (*)(const float* x, int64_t n,
                                const float* importance, SearchLevel search,
                                uint8_t* blocks, LaneSums& sums);
// The inverse; any bytes decode.
using DecodeBlocks = void (*)(const uint8_t* blocks, int64_t n, float* out);

struct GgmlKernels {
  EncodeBlocks encode = nullptr;
  DecodeBlocks decode = nullptr;
  EncodeMeasured encode_measured = nullptr;  // where it saves time
};

// The kernels of a block type, from the table in ggml_blocks.def. Null members
// for types without blocks (F32, F16, ...).
GgmlKernels GgmlKernelsOf(GgmlType type);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_GGML_BLOCKS_H_

#include "core/kernels/ggml_blocks.h"

namespace quant {

#define QUANT_GGML_BLOCK(type, encode, decode)                    \
  void encode(const float* x, int64_t n, const float* importance, \
              SearchLevel search, uint8_t* blocks);               \
  void decode(const uint8_t* blocks, int64_t n, float* out);
#define QUANT_GGML_BLOCK_MEASURED(type, encode, decode)             \
  void encode(const float* x, int64_t n, const float* importance,   \
              SearchLevel search, uint8_t* blocks, LaneSums& sums); \
  void decode(const uint8_t* blocks, int64_t n, float* out);
#include "core/kernels/ggml_blocks.def"
#undef QUANT_GGML_BLOCK
#undef QUANT_GGML_BLOCK_MEASURED

namespace {

template <EncodeMeasured kEncode>
void EncodeOnly(const float* x, int64_t n, const float* importance,
                SearchLevel search, uint8_t* blocks) {
  LaneSums unused;
  kEncode(x, n, importance, search, blocks, unused);
}

}  // namespace

GgmlKernels GgmlKernelsOf(GgmlType type) {
  switch (type) {
#define QUANT_GGML_BLOCK(type, encode, decode) \
  case GgmlType::type:                         \
    return {encode, decode};
#define QUANT_GGML_BLOCK_MEASURED(type, encode, decode) \
  case GgmlType::type:                                  \
    return {EncodeOnly<encode>, decode, encode};
#include "core/kernels/ggml_blocks.def"
#undef QUANT_GGML_BLOCK
#undef QUANT_GGML_BLOCK_MEASURED
    default:
      return {};
  }
}

}  // namespace quant

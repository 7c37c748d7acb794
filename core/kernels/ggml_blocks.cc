#include "core/kernels/ggml_blocks.h"

namespace quant {

#define QUANT_GGML_BLOCK(type, encode, decode)                             \
  void encode(const float* x, int64_t n, const float* importance,          \
              SearchLevel search, uint8_t* blocks);                        \
  void decode(const uint8_t* blocks, int64_t n, float* out);
#include "core/kernels/ggml_blocks.def"
#undef QUANT_GGML_BLOCK

GgmlKernels GgmlKernelsOf(GgmlType type) {
  switch (type) {
#define QUANT_GGML_BLOCK(type, encode, decode) \
  case GgmlType::type:                         \
    return {encode, decode};
#include "core/kernels/ggml_blocks.def"
#undef QUANT_GGML_BLOCK
    default:
      return {};
  }
}

}  // namespace quant

// Scalar twins of the block types of 32 weights, of IQ4_XS and of the ternary
// types: what the bytes mean, written as plainly as possible.
#ifndef QUANT_TESTS_CORE_KERNELS_BLOCK_TWINS_H_
#define QUANT_TESTS_CORE_KERNELS_BLOCK_TWINS_H_

#include <cstdint>
#include <vector>

#include "core/tensor/ggml_type.h"

namespace quant {

// The types that have twins here.
std::vector<GgmlType> TwinTypes();

// Element e of one block.
float TwinValue(GgmlType type, const uint8_t* block, int e);

// All values that element e could have, given the scales of the block.
std::vector<float> TwinGrid(GgmlType type, const uint8_t* block, int e);

// Whether every scale of the block is finite (MXFP4: not the NaN exponent).
bool TwinScalesAreFinite(GgmlType type, const uint8_t* block);

}  // namespace quant

#endif  // QUANT_TESTS_CORE_KERNELS_BLOCK_TWINS_H_

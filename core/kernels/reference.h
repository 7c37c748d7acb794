// Scalar twins of the SIMD kernels: the same codes and the same sums, one
// element at a time, in plain C++. Tests compare every target with them bit for
// bit; nothing else uses them.
#ifndef QUANT_CORE_KERNELS_REFERENCE_H_
#define QUANT_CORE_KERNELS_REFERENCE_H_

#include <cstdint>

#include "core/kernels/cast_codes.h"
#include "core/kernels/fp8_codes.h"
#include "core/kernels/gptq_block.h"
#include "core/kernels/hqq_step.h"
#include "core/kernels/int_codes.h"
#include "core/kernels/lane_sums.h"
#include "core/kernels/table_codes.h"

namespace quant {

// Twin of AddErrors.
void ReferenceAddErrors(const float* x, const float* back, int64_t n,
                        LaneSums& sums);

// Twin of EncodeIntRow. The quotient is an IEEE division whether the row is
// narrow or not: for narrow rows no quotient is close enough to a tie to be
// rounded onto it.
void ReferenceEncodeIntRow(const IntRow& row, const float* x, int8_t* codes,
                           LaneSums& sums);

// Twin of DecodeIntRow.
void ReferenceDecodeIntRow(const IntRow& row, const int8_t* codes, float* out);

// Twin of HqqStep.
HqqSums ReferenceHqqStep(const HqqGroup& group, const float* x);

// Twin of RunGptqBlock.
void ReferenceGptqBlock(const GptqBlock& block, const float* original,
                        const float* w, float* deltas, int8_t* codes);

// Twin of EncodeFp8Row.
void ReferenceEncodeFp8Row(const Fp8Row& row, const float* x, uint8_t* codes,
                           LaneSums& sums);

// Twin of EncodeTableRow: compares each number with the best one so far.
void ReferenceEncodeTableRow(const TableRow& row, const float* x,
                             uint8_t* codes, LaneSums& sums);

// Twin of EncodeHalfRow.
void ReferenceEncodeHalfRow(HalfKind kind, const float* x, int64_t n,
                            uint16_t* out, LaneSums& sums);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_REFERENCE_H_

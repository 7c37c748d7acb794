// Factors of symmetric positive definite matrices.
//
//   H = (I + S) D (I + S)^T     S strictly upper triangular, D diagonal
//
// Blocks from the last to the first. Of a block column [a, b), with P what is
// left of H[0..a, a..b] when the columns behind it are taken out:
//
//   H_bb = (I + S_b) D_b (I + S_b)^T         unblocked, in double
//   S[0..a, a..b] D_b = Y = P (I + S_b)^-T
//   H[0..a, 0..a] -= Y D_b^-1 Y^T            at first within a panel of blocks
//
// Source: Golub and Van Loan, "Matrix Computations", 4.1 (LDL^T), with rows and
// columns counted from the end.
//
// Legend: N rows and columns.
#ifndef QUANT_CORE_KERNELS_UDU_H_
#define QUANT_CORE_KERNELS_UDU_H_

#include <cstdint>

#include "core/base/thread_pool.h"

namespace quant {

// h [N, N], of which only the upper triangle is read and written: S above the
// diagonal, D on it. False where a D is not positive and finite: h then means
// nothing. The same bits at any number of threads, on one kind of CPU.
bool FactorUdu(ThreadPool& pool, int64_t n, float* h);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_UDU_H_

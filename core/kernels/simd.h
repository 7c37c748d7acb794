// What every kernel file includes before Highway.
#ifndef QUANT_CORE_KERNELS_SIMD_H_
#define QUANT_CORE_KERNELS_SIMD_H_

// Kernels keep arrays of vectors, which scalable vector types can't do; such
// CPUs run the fixed-size target (NEON) instead.
#define HWY_DISABLED_TARGETS \
  (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)

// After a lambda's parameters: as HWY_INLINE, and with HWY_ATTR.
#define QUANT_INLINE_LAMBDA HWY_ATTR __attribute__((always_inline))

#endif  // QUANT_CORE_KERNELS_SIMD_H_

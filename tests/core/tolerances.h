// Every tolerance of the numeric tests, one named ceiling each with its reason.
// What is not listed here is compared bit for bit.
#ifndef QUANT_TESTS_CORE_TOLERANCES_H_
#define QUANT_TESTS_CORE_TOLERANCES_H_

namespace quant {

// Integer codes, in steps beyond half a step. The quotient x / s is rounded to
// float32 (relative error 2^-24, at |x / s| <= 256: 2^-16 steps), and so is
// (q - z) * s. F16 and BF16 weights with such scales need none of it.
inline constexpr double kIntStepSlack = 1.0 / (1 << 15);

// FP8 codes, relative to the value, beyond half the distance to the
// neighbouring code: two float32 roundings.
inline constexpr double kFp8RelativeSlack = 1.0 / (1 << 22);

// Products near the bottom of float32 are rounded to multiples of this.
inline constexpr double kFloatDenormMin = 1.401298464324817e-45;

// The method's error sums against sums in double, relative: at worst 16
// squares rounded to float32, and their additions (core/kernels/lane_sums.h;
// ADR 24).
inline constexpr double kSumRelative = 17.0 / (1 << 24);

// The same of a ratio of two sums, in decibels: 10 log10(1 + 2 kSumRelative).
inline constexpr double kDecibelSlack = 1e-5;

// Methods with scale rule mse against rtn with minmax, on normal weights, in
// groups of 128: the largest ratio of the squared errors that counts as
// measurably better.
// Measured (November 2026): 0.83 at 4 bits, 0.67 at 3, 0.48 at 2.
inline constexpr double kMseGain4Bits = 0.90;
inline constexpr double kMseGain3Bits = 0.75;
inline constexpr double kMseGain2Bits = 0.55;

// Forward passes in float32 against float64 (NumPy) and against PyTorch: both
// record six decimals; figures agreed to 2e-6 (November 2026), and logits of
// size 10 to 1e-5.
inline constexpr double kPerplexitySlack = 1e-5;
inline constexpr double kLogitSlack = 1e-4;

// Factors of a Hessian in float32, put together again in double, relative to
// the diagonal. Measured: 1.5e-7 for 1000 columns (November 2026).
inline constexpr double kFactorSlack = 2e-6;

// GPTQ in float32 by one factorization, against the paper's in double by
// another: how far from a tie, in steps, a weight may lie that only one of them
// rounds upwards.
inline constexpr double kGptqTie = 1e-3;

}  // namespace quant

#endif  // QUANT_TESTS_CORE_TOLERANCES_H_

// Arithmetic on sizes that came from outside: overflow is an answer, not
// undefined behaviour.
#ifndef QUANT_CORE_BASE_CHECKED_MATH_H_
#define QUANT_CORE_BASE_CHECKED_MATH_H_

#include <cstdint>
#include <optional>

namespace quant {

inline std::optional<int64_t> CheckedMul(int64_t a, int64_t b) {
  int64_t out;
  if (__builtin_mul_overflow(a, b, &out)) return std::nullopt;
  return out;
}

inline std::optional<int64_t> CheckedAdd(int64_t a, int64_t b) {
  int64_t out;
  if (__builtin_add_overflow(a, b, &out)) return std::nullopt;
  return out;
}

// ceil(a / b) for a >= 0, b > 0.
constexpr int64_t CeilDiv(int64_t a, int64_t b) {
  return a / b + (a % b != 0 ? 1 : 0);
}

// The least multiple of b that is >= a, for a >= 0, b > 0 and no overflow.
constexpr int64_t RoundUp(int64_t a, int64_t b) { return CeilDiv(a, b) * b; }

}  // namespace quant

#endif  // QUANT_CORE_BASE_CHECKED_MATH_H_

// Early return for absl::Status and absl::StatusOr.
#ifndef QUANT_CORE_BASE_STATUS_MACROS_H_
#define QUANT_CORE_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define QUANT_CONCAT_INNER(a, b) a##b
#define QUANT_CONCAT(a, b) QUANT_CONCAT_INNER(a, b)

// Returns from the function when `expr` is not OK.
#define QUANT_RETURN_IF_ERROR(expr)                               \
  do {                                                            \
    if (absl::Status quant_status = (expr); !quant_status.ok()) { \
      return quant_status;                                        \
    }                                                             \
  } while (false)

// `lhs` = value of the StatusOr `expr`, or returns its status.
#define QUANT_ASSIGN_OR_RETURN(lhs, expr) \
  QUANT_ASSIGN_OR_RETURN_IMPL(QUANT_CONCAT(quant_or_, __LINE__), lhs, expr)
#define QUANT_ASSIGN_OR_RETURN_IMPL(or_value, lhs, expr) \
  auto or_value = (expr);                                \
  if (!or_value.ok()) return or_value.status();          \
  lhs = std::move(or_value).value()

#endif  // QUANT_CORE_BASE_STATUS_MACROS_H_

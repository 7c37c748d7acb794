// NumPy's .npy: "\x93NUMPY", version, header length, a Python dictionary with
// 'descr', 'fortran_order' and 'shape', then the values. Versions 1 to 3, C
// order. Source: NumPy's format specification, NEP 1.
#ifndef QUANT_CORE_CONTAINER_NPY_H_
#define QUANT_CORE_CONTAINER_NPY_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/tensor/shape.h"

namespace quant {

struct NpyView {
  std::string descr;       // "<f4": byte order, kind, bytes
  Shape shape;             // empty for a scalar
  int64_t width = 0;       // bytes of one element
  absl::string_view data;  // exactly the elements; views the input
};

// DATA_LOSS MODEL_MALFORMED for broken files; INVALID_ARGUMENT for Fortran
// order and more than `max_elements`.
absl::StatusOr<NpyView> ParseNpyView(absl::string_view bytes,
                                     int64_t max_elements);

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_NPY_H_

// Small arrays for `quantctl tensor`: from the command line, .npy files, and
// tensors of models.
#ifndef QUANT_CLIENT_CLI_ARRAY_H_
#define QUANT_CLIENT_CLI_ARRAY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/tensor/dtype.h"

namespace quant::cli {

struct Array {
  std::vector<float> values;   // row-major
  std::vector<int64_t> shape;  // [out, in]
  std::string note;            // what was left out, if anything
};

// VALUES ("1, -2.5; 3, 4": ';' between rows), FILE.npy or MODEL:TENSOR. A
// tensor with more than kMaxInlineTensorValues is cut to its first rows.
absl::StatusOr<Array> ReadArray(const std::string& argument);

// NumPy's format, versions 1 to 3: little-endian floats and integers, C order,
// at most kMaxInlineTensorValues values. More dimensions than two are folded
// into the rows.
absl::StatusOr<Array> ParseNpy(absl::string_view bytes);
// float32, C order.
std::string ToNpy(const std::vector<float>& values,
                  const std::vector<int64_t>& shape);

// Elements of type F16, BF16, F32 or F64, little-endian, as float32.
absl::StatusOr<std::vector<float>> ToFloats(DType dtype,
                                            absl::string_view bytes);

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_ARRAY_H_

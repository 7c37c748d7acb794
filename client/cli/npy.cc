// Arrays as NumPy writes them (core/container/npy.h), as floats.
#include "core/container/npy.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/array.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

constexpr absl::string_view kMagic("\x93NUMPY", 6);

template <typename T>
std::vector<float> Convert(absl::string_view bytes) {
  std::vector<float> out(bytes.size() / sizeof(T));
  for (size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    out[i] = static_cast<float>(value);
  }
  return out;
}

absl::StatusOr<std::vector<float>> ConvertAs(absl::string_view descr,
                                             absl::string_view bytes) {
  if (descr == "<f4") return Convert<float>(bytes);
  if (descr == "<f8") return Convert<double>(bytes);
  if (descr == "<f2") return ToFloats(DType::kF16, bytes);
  if (descr == "|i1") return Convert<int8_t>(bytes);
  if (descr == "|u1") return Convert<uint8_t>(bytes);
  if (descr == "<i2") return Convert<int16_t>(bytes);
  if (descr == "<i4") return Convert<int32_t>(bytes);
  if (descr == "<i8") return Convert<int64_t>(bytes);
  return InvalidSpec(absl::StrCat(".npy: type \"", descr,
                                  "\"; allowed are <f2 <f4 <f8 |i1 |u1 <i2 "
                                  "<i4 <i8"));
}

}  // namespace

absl::StatusOr<Array> ParseNpy(absl::string_view bytes) {
  QUANT_ASSIGN_OR_RETURN(const NpyView view,
                         ParseNpyView(bytes, kMaxInlineTensorValues));
  Array array;
  const int64_t count = *NumElements(view.shape);
  const int64_t cols = view.shape.empty() ? 1 : view.shape.back();
  array.shape = {count / cols, cols};
  QUANT_ASSIGN_OR_RETURN(array.values, ConvertAs(view.descr, view.data));
  return array;
}

std::string ToNpy(const std::vector<float>& values,
                  const std::vector<int64_t>& shape) {
  std::string header = absl::StrFormat(
      "{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }",
      absl::StrJoin(shape, ", "));
  // Values begin at a multiple of 64; the header ends with a newline.
  const size_t prefix = kMagic.size() + 4;
  header.append(63 - (prefix + header.size()) % 64, ' ');
  header.push_back('\n');
  std::string out(kMagic);
  out.append({'\1', '\0', static_cast<char>(header.size() & 0xFF),
              static_cast<char>(header.size() >> 8)});
  out += header;
  out.append(reinterpret_cast<const char*>(values.data()),
             values.size() * sizeof(float));
  return out;
}

}  // namespace quant::cli

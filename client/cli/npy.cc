// NumPy's .npy: "\x93NUMPY", version, header length, a Python dictionary with
// 'descr', 'fortran_order' and 'shape', then the values.
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cli/array.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

constexpr absl::string_view kMagic("\x93NUMPY", 6);

absl::Status Malformed(absl::string_view what) {
  return ModelMalformed(absl::StrCat(".npy: ", what));
}

// What follows 'key': up to `end`, which is not part of it.
absl::StatusOr<absl::string_view> Entry(absl::string_view header,
                                        absl::string_view key, char begin,
                                        char end) {
  const size_t at = header.find(absl::StrCat("'", key, "':"));
  if (at == absl::string_view::npos) {
    return Malformed(absl::StrCat("no '", key, "'"));
  }
  const size_t from = header.find(begin, at + key.size() + 3);
  if (from == absl::string_view::npos) return Malformed(key);
  const size_t to = header.find(end, from + 1);
  if (to == absl::string_view::npos) return Malformed(key);
  return header.substr(from + 1, to - from - 1);
}

// [dims...] folded to [rows, columns].
absl::StatusOr<std::vector<int64_t>> ParseShape(absl::string_view text) {
  std::vector<int64_t> dims;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    int64_t dim = 0;
    if (part.find_first_not_of(' ') == absl::string_view::npos) continue;
    if (!absl::SimpleAtoi(part, &dim) || dim < 1) return Malformed("shape");
    dims.push_back(dim);
  }
  std::vector<int64_t> shape = {1, dims.empty() ? 1 : dims.back()};
  for (size_t i = 0; i + 1 < dims.size(); ++i) {
    const auto rows = CheckedMul(shape[0], dims[i]);
    if (!rows) return Malformed("shape");
    shape[0] = *rows;
  }
  const auto count = CheckedMul(shape[0], shape[1]);
  if (!count || *count > kMaxInlineTensorValues) {
    return InvalidSpec(absl::StrCat(".npy: shape (", text, "); at most ",
                                    kMaxInlineTensorValues, " values"));
  }
  return shape;
}

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

absl::StatusOr<int64_t> WidthOf(absl::string_view descr) {
  int64_t width = 0;
  if (descr.size() != 3 || !absl::SimpleAtoi(descr.substr(2), &width) ||
      width < 1) {
    return Malformed(absl::StrCat("type \"", descr, "\""));
  }
  return width;
}

// The header's text; `data` becomes what follows it.
absl::StatusOr<absl::string_view> SplitHeader(absl::string_view bytes,
                                              absl::string_view& data) {
  if (!absl::StartsWith(bytes, kMagic) || bytes.size() < 12) {
    return Malformed("the magic bytes are missing");
  }
  const auto byte = [&](size_t i) {
    return static_cast<uint64_t>(static_cast<uint8_t>(bytes[i]));
  };
  const bool wide = byte(6) >= 2;
  const size_t begin = wide ? 12 : 10;
  uint64_t length = byte(8) | byte(9) << 8;
  if (wide) length |= byte(10) << 16 | byte(11) << 24;
  if (length > bytes.size() - begin) return Malformed("the header is cut");
  data = bytes.substr(begin + length);
  return bytes.substr(begin, length);
}

}  // namespace

absl::StatusOr<Array> ParseNpy(absl::string_view bytes) {
  absl::string_view data;
  QUANT_ASSIGN_OR_RETURN(const absl::string_view header,
                         SplitHeader(bytes, data));
  if (absl::StrContains(header, "'fortran_order': True")) {
    return InvalidSpec(".npy: Fortran order; save it in C order");
  }
  QUANT_ASSIGN_OR_RETURN(const absl::string_view descr,
                         Entry(header, "descr", '\'', '\''));
  QUANT_ASSIGN_OR_RETURN(const absl::string_view shape,
                         Entry(header, "shape", '(', ')'));
  Array array;
  QUANT_ASSIGN_OR_RETURN(array.shape, ParseShape(shape));
  QUANT_ASSIGN_OR_RETURN(const int64_t width, WidthOf(descr));
  const int64_t size = array.shape[0] * array.shape[1] * width;
  if (static_cast<int64_t>(data.size()) != size) {
    return Malformed(absl::StrCat(data.size(),
                                  " bytes of values; the shape "
                                  "says ",
                                  size));
  }
  QUANT_ASSIGN_OR_RETURN(array.values, ConvertAs(descr, data));
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

#include "core/container/npy.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"

namespace quant {
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

absl::StatusOr<Shape> ParseShape(absl::string_view text, int64_t max_elements) {
  Shape shape;
  int64_t count = 1;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    int64_t dim = 0;
    if (part.find_first_not_of(' ') == absl::string_view::npos) continue;
    if (!absl::SimpleAtoi(part, &dim) || dim < 1 ||
        static_cast<int64_t>(shape.size()) == kMaxTensorRank) {
      return Malformed("shape");
    }
    const auto product = CheckedMul(count, dim);
    if (!product || *product > max_elements) {
      return InvalidSpec(absl::StrCat(".npy: shape (", text, "); at most ",
                                      max_elements, " values"));
    }
    count = *product;
    shape.push_back(dim);
  }
  return shape;
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

absl::StatusOr<NpyView> ParseNpyView(absl::string_view bytes,
                                     int64_t max_elements) {
  NpyView view;
  QUANT_ASSIGN_OR_RETURN(const absl::string_view header,
                         SplitHeader(bytes, view.data));
  if (absl::StrContains(header, "'fortran_order': True")) {
    return InvalidSpec(".npy: Fortran order; save it in C order");
  }
  QUANT_ASSIGN_OR_RETURN(const absl::string_view descr,
                         Entry(header, "descr", '\'', '\''));
  QUANT_ASSIGN_OR_RETURN(const absl::string_view shape,
                         Entry(header, "shape", '(', ')'));
  view.descr = std::string(descr);
  QUANT_ASSIGN_OR_RETURN(view.shape, ParseShape(shape, max_elements));
  QUANT_ASSIGN_OR_RETURN(view.width, WidthOf(descr));
  const auto size = CheckedMul(NumElements(view.shape).value_or(0), view.width);
  if (!size || static_cast<int64_t>(view.data.size()) != *size) {
    return Malformed(absl::StrCat(view.data.size(),
                                  " bytes of values; the shape says ",
                                  size.value_or(0)));
  }
  return view;
}

}  // namespace quant

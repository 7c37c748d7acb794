#include "core/container/gguf_rules.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/checked_math.h"
#include "core/base/limits.h"
#include "core/container/json_events.h"

namespace quant {
namespace {

// What is wrong with a name that programs in C must read alike, and JSON hold.
std::string NameDefect(absl::string_view name, int64_t max_bytes) {
  if (name.empty()) return "is empty";
  if (static_cast<int64_t>(name.size()) > max_bytes) {
    return absl::StrCat("has ", name.size(), " bytes; at most ", max_bytes,
                        " are allowed");
  }
  if (name.find('\0') != absl::string_view::npos) return "has a NUL byte";
  if (!JsonQuote(name).ok()) return "is not UTF-8";
  return "";
}

std::string Twice(std::vector<absl::string_view> names) {
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  return twice == names.end() ? "" : QuotedName(*twice);
}

}  // namespace

std::string GgufTensorLabel(absl::string_view name) {
  return absl::StrCat("tensor ", QuotedName(name));
}

std::string GgufKeyLabel(absl::string_view key) {
  return absl::StrCat("key ", QuotedName(key));
}

std::string GgufKeyDefect(absl::string_view key) {
  const std::string defect = NameDefect(key, kMaxGgufKeyBytes);
  if (defect.empty()) return "";
  return absl::StrCat(GgufKeyLabel(key), ": ", defect);
}

std::string GgufTensorDefect(const GgufTensor& tensor) {
  const std::string label = GgufTensorLabel(tensor.name);
  const std::string defect = NameDefect(tensor.name, kMaxGgufTensorNameBytes);
  if (!defect.empty()) return absl::StrCat(label, ": the name ", defect);
  if (static_cast<int64_t>(tensor.shape.size()) > kMaxGgufTensorRank) {
    return absl::StrCat(label, ": has ", tensor.shape.size(),
                        " dimensions; at most ", kMaxGgufTensorRank,
                        " are allowed");
  }
  const std::string what = absl::StrCat(label, ": ", InfoOf(tensor.type).name,
                                        " ", ShapeToString(tensor.shape));
  for (int64_t dimension : tensor.shape) {
    if (dimension <= 0) {
      return absl::StrCat(what, ": every dimension must be at least 1");
    }
  }
  const int64_t columns = tensor.shape.empty() ? 1 : tensor.shape.back();
  const int block = InfoOf(tensor.type).block_elems;
  if (columns % block != 0) {
    return absl::StrCat(what, ": rows must be multiples of ", block,
                        ", the type's block");
  }
  if (!GgmlTensorBytes(tensor.type, tensor.shape)) {
    return absl::StrCat(what, ": overflows 2^63 bytes");
  }
  return "";
}

std::string GgufDuplicates(absl::Span<const GgufKv> kvs,
                           absl::Span<const GgufTensor> tensors) {
  std::vector<absl::string_view> keys, names;
  for (const GgufKv& kv : kvs) keys.push_back(kv.key);
  for (const GgufTensor& tensor : tensors) names.push_back(tensor.name);
  if (const std::string key = Twice(std::move(keys)); !key.empty()) {
    return absl::StrCat("key ", key, ": is there twice");
  }
  if (const std::string name = Twice(std::move(names)); !name.empty()) {
    return absl::StrCat("tensor ", name, ": is there twice");
  }
  return "";
}

std::string GgufAlignmentDefect(int64_t alignment) {
  if (alignment > 0 && alignment <= kMaxGgufAlignment &&
      (alignment & (alignment - 1)) == 0) {
    return "";
  }
  return absl::StrCat(GgufKeyLabel(kAlignmentKey), ": is ", alignment,
                      "; a power of two up to ", kMaxGgufAlignment,
                      " is needed");
}

std::optional<int64_t> AlignedUp(int64_t value, int64_t alignment) {
  const auto sum = CheckedAdd(value, alignment - 1);
  if (!sum) return std::nullopt;
  return *sum & ~(alignment - 1);
}

}  // namespace quant

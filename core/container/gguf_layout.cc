// The writer's side of gguf.h.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/container/byte_cursor.h"
#include "core/container/gguf.h"
#include "core/container/gguf_rules.h"

namespace quant {
namespace {

constexpr uint32_t kVersion3 = 3;

absl::Status DefectToStatus(const std::string& defect) {
  return defect.empty() ? absl::OkStatus() : InvalidSpec(defect);
}

void Append(const void* bytes, size_t count, std::string& out) {
  out.append(static_cast<const char*>(bytes), count);
}

template <typename T>
void AppendValue(const T& value, std::string& out) {
  Append(&value, sizeof(value), out);
}

void AppendValue(const bool& value, std::string& out) {
  out += static_cast<char>(value ? 1 : 0);
}

void AppendValue(const std::string& value, std::string& out) {
  AppendValue(static_cast<uint64_t>(value.size()), out);
  out += value;
}

void AppendValue(const std::monostate&, std::string&) {}  // refused before

template <typename T>
void AppendValue(const std::vector<T>& values, std::string& out) {
  AppendValue(static_cast<uint64_t>(values.size()), out);
  for (const auto& value : values) AppendValue(static_cast<T>(value), out);
}

void AppendValue(const GgufArray& array, std::string& out) {
  AppendValue(static_cast<int32_t>(array.index()), out);
  std::visit([&](const auto& values) { AppendValue(values, out); }, array);
}

void AppendKey(const GgufKv& kv, std::string& out) {
  AppendValue(kv.key, out);
  AppendValue(static_cast<int32_t>(kv.value.index()), out);
  std::visit([&](const auto& value) { AppendValue(value, out); }, kv.value);
}

void AppendTensor(const GgufTensor& tensor, std::string& out) {
  AppendValue(tensor.name, out);
  AppendValue(static_cast<uint32_t>(tensor.shape.size()), out);
  for (size_t i = tensor.shape.size(); i-- > 0;) {
    AppendValue(tensor.shape[i], out);
  }
  AppendValue(static_cast<int32_t>(tensor.type), out);
  AppendValue(tensor.begin, out);
}

// `kvs`, with the alignment where it is not the usual one.
absl::StatusOr<std::vector<GgufKv>> WithAlignment(absl::Span<const GgufKv> kvs,
                                                  int64_t alignment) {
  QUANT_RETURN_IF_ERROR(DefectToStatus(GgufAlignmentDefect(alignment)));
  std::vector<GgufKv> all(kvs.begin(), kvs.end());
  const GgufValue wanted = static_cast<uint32_t>(alignment);
  if (const GgufValue* given = FindGgufValue(kvs, kAlignmentKey)) {
    if (*given == wanted) return all;
    return InvalidSpec(absl::StrCat(GgufKeyLabel(kAlignmentKey),
                                    ": must be the u32 ", alignment,
                                    " of the layout"));
  }
  if (alignment != kGgufAlignment) all.push_back({kAlignmentKey, wanted});
  return all;
}

absl::Status CheckWritable(absl::Span<const GgufKv> kvs,
                           absl::Span<const GgufTensor> tensors) {
  if (static_cast<int64_t>(kvs.size()) > kMaxGgufKeys ||
      static_cast<int64_t>(tensors.size()) > kMaxTensorsPerModel) {
    return InvalidSpec(absl::StrCat(kvs.size(), " keys and ", tensors.size(),
                                    " tensors; at most ", kMaxGgufKeys, " and ",
                                    kMaxTensorsPerModel, " are allowed"));
  }
  for (const GgufKv& kv : kvs) {
    QUANT_RETURN_IF_ERROR(DefectToStatus(GgufKeyDefect(kv.key)));
    const auto* array = std::get_if<GgufArray>(&kv.value);
    if (array != nullptr && std::holds_alternative<std::monostate>(*array)) {
      return InvalidSpec(absl::StrCat(GgufKeyLabel(kv.key),
                                      ": arrays of arrays are not written"));
    }
  }
  for (const GgufTensor& tensor : tensors) {
    QUANT_RETURN_IF_ERROR(DefectToStatus(GgufTensorDefect(tensor)));
  }
  return DefectToStatus(GgufDuplicates(kvs, tensors));
}

// Gives each tensor its place behind `start`; returns where the file ends.
absl::StatusOr<int64_t> Place(int64_t start, int64_t alignment,
                              absl::Span<GgufTensor> tensors) {
  int64_t next = start;
  for (GgufTensor& tensor : tensors) {
    const auto end =
        CheckedAdd(next, *GgmlTensorBytes(tensor.type, tensor.shape));
    const auto padded = end ? AlignedUp(*end, alignment) : std::nullopt;
    if (!padded) {
      return InvalidSpec(absl::StrCat(GgufTensorLabel(tensor.name),
                                      ": the file overflows 2^63 bytes"));
    }
    tensor.begin = std::exchange(next, *padded);
    tensor.end = *end;
  }
  return next;
}

}  // namespace

absl::StatusOr<GgufLayout> LayOutGguf(absl::Span<const GgufKv> kvs,
                                      std::vector<GgufTensor> tensors,
                                      int64_t alignment) {
  QUANT_ASSIGN_OR_RETURN(const std::vector<GgufKv> all,
                         WithAlignment(kvs, alignment));
  QUANT_RETURN_IF_ERROR(CheckWritable(all, tensors));
  std::string header = kGgufMagic;
  AppendValue(kVersion3, header);
  AppendValue(static_cast<uint64_t>(tensors.size()), header);
  AppendValue(static_cast<uint64_t>(all.size()), header);
  for (const GgufKv& kv : all) AppendKey(kv, header);
  // Offsets count from the first tensor.
  QUANT_ASSIGN_OR_RETURN(const int64_t data_bytes,
                         Place(0, alignment, absl::MakeSpan(tensors)));
  for (const GgufTensor& tensor : tensors) AppendTensor(tensor, header);
  const int64_t head_bytes = static_cast<int64_t>(header.size());
  if (head_bytes > kMaxGgufHeaderBytes) {
    return InvalidSpec(absl::StrCat("the head has ", head_bytes,
                                    " bytes; at most ", kMaxGgufHeaderBytes,
                                    " are allowed"));
  }
  const int64_t start = *AlignedUp(head_bytes, alignment);
  header.resize(start, '\0');
  const auto file_size = CheckedAdd(start, data_bytes);
  if (!file_size) return InvalidSpec("the file overflows 2^63 bytes");
  for (GgufTensor& tensor : tensors) {
    tensor.begin += start;
    tensor.end += start;
  }
  return GgufLayout{.header = std::move(header),
                    .tensors = std::move(tensors),
                    .file_size = *file_size};
}

}  // namespace quant

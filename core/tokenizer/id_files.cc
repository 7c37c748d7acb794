#include "core/tokenizer/id_files.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"
#include "core/container/npy.h"
#include "core/container/safetensors.h"
#include "core/tensor/shape.h"

namespace quant {
namespace {

template <typename T>
absl::StatusOr<std::vector<int32_t>> Convert(absl::string_view bytes) {
  std::vector<int32_t> ids(bytes.size() / sizeof(T));
  for (size_t i = 0; i < ids.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    if (value < 0 || value > std::numeric_limits<int32_t>::max()) {
      return InvalidSpec(absl::StrCat("token ", i, ": id ", value,
                                      "; 0 to 2147483647 are allowed"));
    }
    ids[i] = static_cast<int32_t>(value);
  }
  return ids;
}

absl::Status CheckShape(const Shape& shape) {
  if (shape.size() == 1 || shape.size() == 2) return absl::OkStatus();
  return InvalidSpec(absl::StrCat("shape ", ShapeToString(shape),
                                  "; [tokens] or [rows, tokens] are allowed"));
}

absl::StatusOr<std::vector<int32_t>> ReadNpy(const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(const std::string bytes,
                         ReadFile(path, kMaxTokenFileBytes));
  QUANT_ASSIGN_OR_RETURN(
      const NpyView view,
      ParseNpyView(bytes,
                   kMaxTokenFileBytes / static_cast<int64_t>(sizeof(int32_t))));
  QUANT_RETURN_IF_ERROR(CheckShape(view.shape));
  if (view.descr == "<i4") return Convert<int32_t>(view.data);
  if (view.descr == "<i8") return Convert<int64_t>(view.data);
  return InvalidSpec(
      absl::StrCat("type \"", view.descr, "\"; token ids are <i4 or <i8"));
}

absl::StatusOr<std::vector<int32_t>> ReadTensor(
    const File& file, const SafetensorsHeader& header,
    const SafetensorsTensor& tensor) {
  if (tensor.dtype != DType::kI32 && tensor.dtype != DType::kI64) {
    return InvalidSpec(absl::StrCat("tensor ", QuotedName(tensor.name),
                                    " has type ", DTypeName(tensor.dtype),
                                    "; token ids are I32 or I64"));
  }
  QUANT_RETURN_IF_ERROR(CheckShape(tensor.shape));
  // The header's reader has checked that they lie inside the file.
  const int64_t size = tensor.end - tensor.begin;
  if (size > kMaxTokenFileBytes) {
    return InvalidSpec(absl::StrCat("tensor ", QuotedName(tensor.name), " has ",
                                    size, " bytes; at most ",
                                    kMaxTokenFileBytes, " are allowed"));
  }
  std::string bytes(size, '\0');
  QUANT_RETURN_IF_ERROR(file.ReadAt(
      header.data_start + tensor.begin,
      absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size())));
  return tensor.dtype == DType::kI32 ? Convert<int32_t>(bytes)
                                     : Convert<int64_t>(bytes);
}

const SafetensorsTensor* FindTensor(const SafetensorsHeader& header,
                                    absl::string_view name) {
  for (const SafetensorsTensor& tensor : header.tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

absl::StatusOr<std::vector<int32_t>> ReadSafetensors(const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(const File file, File::OpenRead(path));
  QUANT_ASSIGN_OR_RETURN(const SafetensorsHeader header,
                         ReadSafetensorsHeader(file));
  const SafetensorsTensor* ids = FindTensor(header, "input_ids");
  if (ids == nullptr && header.tensors.size() == 1) ids = &header.tensors[0];
  if (ids == nullptr) {
    return InvalidSpec(absl::StrCat("has ", header.tensors.size(),
                                    " tensors and none is named "
                                    "\"input_ids\""));
  }
  if (const auto* mask = FindTensor(header, "attention_mask")) {
    QUANT_ASSIGN_OR_RETURN(const auto ones, ReadTensor(file, header, *mask));
    if (std::any_of(ones.begin(), ones.end(),
                    [](int32_t v) { return v != 1; })) {
      return InvalidSpec(
          "attention_mask is not 1 everywhere: padded rows would spoil every "
          "statistic; save the ids without padding");
    }
  }
  return ReadTensor(file, header, *ids);
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> ReadIdFile(const std::string& path) {
  return absl::EndsWith(path, ".safetensors") ? ReadSafetensors(path)
                                              : ReadNpy(path);
}

}  // namespace quant

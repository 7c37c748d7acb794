#include "client/cli/array.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/limits.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"
#include "core/container/model_reader.h"
#include "core/tensor/float_formats.h"

namespace quant::cli {
namespace {

constexpr int64_t kMaxNpyBytes = kMaxInlineTensorValues * 8 + (1 << 20);

absl::StatusOr<Array> ParseValues(absl::string_view text) {
  Array array;
  int64_t columns = -1;
  for (absl::string_view row : absl::StrSplit(text, ';')) {
    const std::vector<absl::string_view> cells =
        absl::StrSplit(row, absl::ByAnyChar(", "), absl::SkipEmpty());
    if (cells.empty()) continue;
    if (columns >= 0 && columns != static_cast<int64_t>(cells.size())) {
      return InvalidSpec(absl::StrCat("values: a row of ", cells.size(),
                                      " after one of ", columns));
    }
    columns = static_cast<int64_t>(cells.size());
    for (absl::string_view cell : cells) {
      float value = 0;
      if (!absl::SimpleAtof(cell, &value)) {
        return InvalidSpec(absl::StrCat(
            "values: \"", cell,
            "\" is no number; give values (\"1, -2; 3, 4\"), FILE.npy or "
            "MODEL:TENSOR"));
      }
      array.values.push_back(value);
    }
  }
  if (array.values.empty()) return InvalidSpec("values: there are none");
  array.shape = {static_cast<int64_t>(array.values.size()) / columns, columns};
  return array;
}

absl::StatusOr<const TensorEntry*> FindTensor(const ModelReader& model,
                                              const std::string& name) {
  std::vector<std::string> known;
  for (const TensorEntry& tensor : model.tensors()) {
    if (tensor.name == name) return &tensor;
    known.push_back(tensor.name);
  }
  const std::string nearest = NearestName(name, known);
  return InvalidSpec(absl::StrCat(
      model.path(), ": no tensor \"", name, "\"",
      nearest.empty() ? "" : absl::StrCat("; did you mean \"", nearest, "\"?"),
      " (quantctl inspect lists them)"));
}

absl::StatusOr<Array> ReadTensor(const std::string& path,
                                 const std::string& name) {
  QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<ModelReader> model,
                         OpenModel(path));
  QUANT_ASSIGN_OR_RETURN(const TensorEntry* tensor, FindTensor(*model, name));
  if (!IsWeightFloat(tensor->dtype)) {
    return InvalidSpec(absl::StrCat(name, ": ", DTypeName(tensor->dtype),
                                    " is not a floating-point weight"));
  }
  const int64_t width = DTypeBits(tensor->dtype) / 8;
  const int64_t count = tensor->bytes / width;
  Array array;
  const int64_t columns =
      tensor->shape.empty() ? 1 : std::max<int64_t>(tensor->shape.back(), 1);
  if (count == 0 || columns > kMaxInlineTensorValues) {
    return InvalidSpec(absl::StrCat(name, ": a row of ", columns,
                                    " values; allowed are 1 to ",
                                    kMaxInlineTensorValues));
  }
  const int64_t rows = count / columns;
  const int64_t taken = std::min(rows, kMaxInlineTensorValues / columns);
  if (taken < rows) {
    array.note =
        absl::StrCat(name, ": the first ", taken, " of ", rows, " rows");
  }
  std::string bytes(static_cast<size_t>(taken * columns * width), '\0');
  QUANT_RETURN_IF_ERROR(model->Read(
      *tensor, 0, {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}));
  array.shape = {taken, columns};
  QUANT_ASSIGN_OR_RETURN(array.values, ToFloats(tensor->dtype, bytes));
  return array;
}

template <typename Bits, typename Decode>
std::vector<float> Decoded(absl::string_view bytes, Decode decode) {
  std::vector<float> out(bytes.size() / sizeof(Bits));
  for (size_t i = 0; i < out.size(); ++i) {
    Bits bits;
    std::memcpy(&bits, bytes.data() + i * sizeof(Bits), sizeof(Bits));
    out[i] = static_cast<float>(decode(bits));
  }
  return out;
}

}  // namespace

absl::StatusOr<std::vector<float>> ToFloats(DType dtype,
                                            absl::string_view bytes) {
  switch (dtype) {
    case DType::kF16:
      return Decoded<uint16_t>(bytes, F16ToF32);
    case DType::kBF16:
      return Decoded<uint16_t>(bytes, Bf16ToF32);
    case DType::kF32:
      return Decoded<float>(bytes, [](float value) { return value; });
    case DType::kF64:
      return Decoded<double>(bytes, [](double value) { return value; });
    default:
      return InvalidSpec(
          absl::StrCat(DTypeName(dtype), " is not a floating-point weight"));
  }
}

absl::StatusOr<Array> ReadArray(const std::string& argument) {
  const std::string text(absl::StripAsciiWhitespace(argument));
  if (absl::EndsWith(text, ".npy")) {
    QUANT_ASSIGN_OR_RETURN(const std::string bytes,
                           ReadFile(text, kMaxNpyBytes));
    absl::StatusOr<Array> array = ParseNpy(bytes);
    return array.ok() ? array : Annotate(array.status(), text);
  }
  // The last one: a model's path may hold a ':', a tensor's name hardly.
  const size_t colon = text.rfind(':');
  if (colon != std::string::npos && PathExists(text.substr(0, colon))) {
    return ReadTensor(text.substr(0, colon), text.substr(colon + 1));
  }
  return ParseValues(text);
}

}  // namespace quant::cli

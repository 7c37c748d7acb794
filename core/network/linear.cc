#include "core/network/linear.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/kernels/convert.h"
#include "core/kernels/gemm.h"
#include "core/network/parallel.h"

namespace quant {
namespace {

// Bytes that are converted at a time.
constexpr int64_t kPieceBytes = int64_t{4} << 20;

}  // namespace

void Linear::Apply(ThreadPool& pool, const float* x, int64_t rows, float* y,
                   int64_t y_stride) const {
  std::vector<float> rounded;
  if (rounding.kind != Activations::kNone) {
    rounded.assign(x, x + rows * in);
    ParallelFor(pool, rows, [&](int64_t r) {
      RoundInputs(rounding, rounded.data() + r * in, in);
    });
    x = rounded.data();
  }
  ParallelGemm(pool, {.m = rows,
                      .n = out,
                      .k = in,
                      .x = x,
                      .x_stride = in,
                      .w = weight.data(),
                      .w_stride = in,
                      .y = y,
                      .y_stride = y_stride});
  if (bias.empty()) return;
  ParallelFor(pool, rows, [&](int64_t r) {
    float* row = y + r * y_stride;
    for (int64_t i = 0; i < out; ++i) row[i] += bias[i];
  });
}

WeightLoader::WeightLoader(const ModelReader& model, InputRoundings roundings)
    : model_(model), roundings_(std::move(roundings)) {
  for (const TensorEntry& tensor : model.tensors()) {
    index_.emplace(tensor.name, &tensor);
  }
}

absl::StatusOr<const TensorEntry*> WeightLoader::Find(
    const std::string& tensor, const Shape& shape) const {
  const auto it = index_.find(tensor);
  if (it == index_.end()) {
    return ModelMalformed(absl::StrCat("tensor \"", tensor,
                                       "\": is missing; the architecture in "
                                       "config.json asks for it"));
  }
  const TensorEntry& entry = *it->second;
  if (entry.shape != shape) {
    return ModelMalformed(absl::StrCat(
        "tensor \"", tensor, "\": shape ", ShapeToString(entry.shape),
        "; config.json asks for ", ShapeToString(shape)));
  }
  if (entry.block_type || !IsWeightFloat(entry.dtype)) {
    return MakeError(
        absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
        absl::StrCat("tensor \"", tensor, "\": type ", TypeName(entry),
                     "; the forward pass reads F16, BF16, F32 and F64"));
  }
  const auto elements = NumElements(shape);
  if (!elements || *elements > kMaxMatrixElements) {
    return MakeError(
        absl::StatusCode::kResourceExhausted, Reason::kUnsupported,
        absl::StrCat("tensor \"", tensor, "\": shape ", ShapeToString(shape),
                     "; at most ", kMaxMatrixElements, " elements"));
  }
  return &entry;
}

absl::StatusOr<std::vector<float>> WeightLoader::Load(
    const std::string& tensor, const Shape& shape) const {
  QUANT_ASSIGN_OR_RETURN(const TensorEntry* entry, Find(tensor, shape));
  const int64_t width = DTypeBits(entry->dtype) / 8;
  const int64_t count = entry->bytes / width;
  std::vector<float> values(count);
  std::vector<uint8_t> piece(std::min(entry->bytes, kPieceBytes));
  for (int64_t at = 0; at < entry->bytes; at += kPieceBytes) {
    const int64_t n = std::min(kPieceBytes, entry->bytes - at);
    QUANT_RETURN_IF_ERROR(
        model_.Read(*entry, at, absl::MakeSpan(piece.data(), n)));
    if (!ConvertToF32(entry->dtype, piece.data(), n / width,
                      values.data() + at / width)) {
      return MakeError(absl::StatusCode::kDataLoss, Reason::kNonfiniteWeights,
                       absl::StrCat("tensor \"", tensor,
                                    "\": holds values that are not finite"));
    }
  }
  return values;
}

absl::Status WeightLoader::LoadRows(const std::string& tensor,
                                    const Shape& shape, int64_t first,
                                    int64_t count, float* out) const {
  QUANT_ASSIGN_OR_RETURN(const TensorEntry* entry, Find(tensor, shape));
  const int64_t row_bytes = shape[1] * (DTypeBits(entry->dtype) / 8);
  std::vector<uint8_t> bytes(count * row_bytes);
  QUANT_RETURN_IF_ERROR(
      model_.Read(*entry, first * row_bytes, absl::MakeSpan(bytes)));
  if (ConvertToF32(entry->dtype, bytes.data(), count * shape[1], out)) {
    return absl::OkStatus();
  }
  return MakeError(absl::StatusCode::kDataLoss, Reason::kNonfiniteWeights,
                   absl::StrCat("tensor \"", tensor,
                                "\": holds values that are not finite"));
}

absl::StatusOr<Linear> WeightLoader::LoadLinear(const std::string& module,
                                                int64_t out, int64_t in,
                                                bool bias) const {
  Linear linear;
  linear.name = module;
  linear.out = out;
  linear.in = in;
  linear.rounding = RoundingOf(module);
  QUANT_ASSIGN_OR_RETURN(linear.weight,
                         Load(absl::StrCat(module, ".weight"), {out, in}));
  const std::string bias_name = absl::StrCat(module, ".bias");
  if (bias) {
    QUANT_ASSIGN_OR_RETURN(linear.bias, Load(bias_name, {out}));
  } else if (Has(bias_name)) {
    return ModelMalformed(
        absl::StrCat("tensor \"", bias_name,
                     "\": the architecture has no such bias, or config.json "
                     "does not say so (attention_bias, mlp_bias)"));
  }
  return linear;
}

InputRounding WeightLoader::RoundingOf(const std::string& module) const {
  const auto found = roundings_.find(module);
  return found == roundings_.end() ? InputRounding() : found->second;
}

}  // namespace quant

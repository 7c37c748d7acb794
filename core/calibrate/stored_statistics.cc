#include "core/calibrate/stored_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/calibrate/statistics_files.h"
#include "core/container/json_tree.h"
#include "core/network/json_fields.h"

namespace quant {
namespace {

constexpr int64_t kMaxDescriptionBytes = 1 << 20;
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

bool AllFinite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(),
                     [](float value) { return std::isfinite(value); });
}

// Whether any inputs could have these.
bool ArePossible(const StatisticsValues& values) {
  const auto none = [](const auto& list, auto wrong) {
    return std::none_of(list.begin(), list.end(), wrong);
  };
  return values.tokens >= 0 && AllFinite(values.lo) && AllFinite(values.hi) &&
         none(values.lo, [](float lo) { return lo > 0; }) &&
         none(values.hi, [](float hi) { return hi < 0; }) &&
         none(values.sum_squares,
              [](double sum) { return !(sum >= 0) || std::isinf(sum); });
}

}  // namespace

absl::Status StatisticsBlock::CheckWeights(Block& block) const {
  const auto found = header_.metadata.find(kWeightsKey);
  if (found != header_.metadata.end() &&
      found->second == DigestOfWeights(block)) {
    return absl::OkStatus();
  }
  return MakeError(
      absl::StatusCode::kFailedPrecondition, Reason::kSourceChanged,
      absl::StrCat(file_.path(),
                   ": statistics of a model with other weights; calibrate this "
                   "one"));
}

template <typename T>
absl::StatusOr<std::vector<T>> StatisticsBlock::ReadTensor(
    const std::string& name, DType dtype, const Shape& shape) const {
  const auto found =
      std::find_if(header_.tensors.begin(), header_.tensors.end(),
                   [&](const auto& tensor) { return tensor.name == name; });
  if (found == header_.tensors.end()) {
    return ModelMalformed(
        absl::StrCat(file_.path(), ": has no tensor \"", name, "\""));
  }
  if (found->dtype != dtype || found->shape != shape) {
    return ModelMalformed(absl::StrCat(
        file_.path(), ": \"", name, "\" is ", DTypeName(found->dtype), " ",
        ShapeToString(found->shape), "; ", DTypeName(dtype), " ",
        ShapeToString(shape), " is expected"));
  }
  std::vector<T> values((found->end - found->begin) / sizeof(T));
  QUANT_RETURN_IF_ERROR(
      file_.ReadAt(header_.data_start + found->begin,
                   absl::MakeSpan(reinterpret_cast<uint8_t*>(values.data()),
                                  values.size() * sizeof(T))));
  return values;
}

absl::StatusOr<InputStatistics> StatisticsBlock::Read(const std::string& module,
                                                      int64_t columns,
                                                      bool with_hessian) const {
  StatisticsValues values;
  QUANT_ASSIGN_OR_RETURN(
      const std::vector<int64_t> tokens,
      ReadTensor<int64_t>(module + ".tokens", DType::kI64, {1}));
  values.tokens = tokens.front();
  QUANT_ASSIGN_OR_RETURN(
      values.lo, ReadTensor<float>(module + ".min", DType::kF32, {columns}));
  QUANT_ASSIGN_OR_RETURN(
      values.hi, ReadTensor<float>(module + ".max", DType::kF32, {columns}));
  QUANT_ASSIGN_OR_RETURN(
      values.sum_squares,
      ReadTensor<double>(module + ".sum_squares", DType::kF64, {columns}));
  if (with_hessian) {
    QUANT_ASSIGN_OR_RETURN(values.hessian,
                           ReadTensor<float>(module + ".hessian", DType::kF32,
                                             {columns, columns}));
  }
  if (ArePossible(values)) return InputStatistics(std::move(values));
  return ModelMalformed(absl::StrCat(file_.path(), ": the statistics of \"",
                                     module, "\" are of no inputs"));
}

absl::StatusOr<InputSummaries> StatisticsBlock::Summaries() const {
  InputSummaries out;
  for (const SafetensorsTensor& tensor : header_.tensors) {
    absl::string_view module = tensor.name;
    if (!absl::ConsumeSuffix(&module, ".min")) continue;
    const int64_t columns = tensor.shape.empty() ? 0 : tensor.shape[0];
    QUANT_ASSIGN_OR_RETURN(
        const InputStatistics statistics,
        Read(std::string(module), columns, /*with_hessian=*/false));
    out[absl::StrCat(module, ".weight")] = SummaryOf(statistics);
  }
  return out;
}

bool StoredStatistics::IsAt(const std::string& path) {
  return PathExists(JoinPath(path, kStatisticsName));
}

absl::StatusOr<StoredStatistics> StoredStatistics::Open(
    const std::string& directory) {
  StoredStatistics out;
  out.directory_ = directory;
  const std::string path = JoinPath(directory, kStatisticsName);
  QUANT_ASSIGN_OR_RETURN(const std::string json,
                         ReadFile(path, kMaxDescriptionBytes));
  out.sha256_ = Sha256Hex(json);
  out.size_bytes_ = static_cast<int64_t>(json.size());
  QUANT_RETURN_IF_ERROR(Annotate(out.Parse(json), directory));
  return out;
}

absl::Status StoredStatistics::Parse(const std::string& json) {
  QUANT_ASSIGN_OR_RETURN(const nlohmann::json tree, ParseJsonTree(json));
  if (!tree.is_object()) return ModelMalformed("not an object");
  absl::Status status;
  JsonFields fields(tree, status, kStatisticsName);
  if (fields.String("format", "") != kStatisticsFormat) {
    return ModelMalformed(
        absl::StrCat("its format is not \"", kStatisticsFormat, "\""));
  }
  has_hessians_ = fields.Bool("hessians", false);
  digests_ = fields.Strings("block_sha256", kMaxLayers);
  const std::vector<int64_t> sizes = fields.Ints("block_bytes", kMaxLayers);
  if (const nlohmann::json* object = fields.Object("text")) {
    JsonFields text(*object, status, kStatisticsName);
    text_.name = text.String("name", "");
    text_.sha256 = text.String("sha256", "");
    text_.data.digest = text.String("ids_sha256", "");
    text_.size_bytes = text.Int("size_bytes", 0, kMost);
    text_.data.sequences = text.Int("sequences", 1, kMost);
    text_.data.sequence_length =
        text.Int("sequence_length", 2, kMaxSequenceLength);
  }
  QUANT_RETURN_IF_ERROR(status);
  if (digests_.empty() || !IsSha256Hex(text_.sha256) ||
      !IsSha256Hex(text_.data.digest)) {
    return ModelMalformed("says nothing of its text or its blocks");
  }
  return CheckSizes(sizes);
}

absl::Status StoredStatistics::CheckSizes(
    const std::vector<int64_t>& sizes) const {
  if (sizes.size() != digests_.size()) {
    return ModelMalformed(absl::StrCat(digests_.size(), " digests of blocks, ",
                                       sizes.size(), " sizes"));
  }
  for (size_t i = 0; i < sizes.size(); ++i) {
    const std::string name = BlockFileName(static_cast<int64_t>(i));
    QUANT_ASSIGN_OR_RETURN(const FileIdentity identity,
                           IdentityOf(JoinPath(directory_, name)));
    if (identity.size_bytes == sizes[i]) continue;
    return ModelMalformed(absl::StrCat(name, " has ", identity.size_bytes,
                                       " bytes; ", sizes[i], " were written"));
  }
  return absl::OkStatus();
}

absl::StatusOr<StatisticsBlock> StoredStatistics::OpenBlock(
    int64_t layer) const {
  const std::string path = JoinPath(directory_, BlockFileName(layer));
  QUANT_ASSIGN_OR_RETURN(const std::string sha256, Sha256OfFile(path));
  if (sha256 != digests_[layer]) {
    return MakeError(
        absl::StatusCode::kDataLoss, Reason::kDigestMismatch,
        absl::StrCat(path, ": not the bytes that ", kStatisticsName, " names"));
  }
  QUANT_ASSIGN_OR_RETURN(File file, File::OpenRead(path));
  QUANT_ASSIGN_OR_RETURN(SafetensorsHeader header, ReadSafetensorsHeader(file));
  return StatisticsBlock(std::move(file), std::move(header));
}

absl::StatusOr<InputSummaries> StoredStatistics::Summaries() const {
  InputSummaries out;
  for (int64_t layer = 0; layer < blocks(); ++layer) {
    QUANT_ASSIGN_OR_RETURN(const StatisticsBlock block, OpenBlock(layer));
    QUANT_ASSIGN_OR_RETURN(InputSummaries more, block.Summaries());
    out.merge(more);
  }
  return out;
}

}  // namespace quant

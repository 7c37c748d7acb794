// describe.h: what is in a model.
#include <algorithm>
#include <atomic>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "core/architecture/gguf_policy.h"
#include "core/architecture/model_config.h"
#include "core/architecture/roles.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/recipe/describe.h"
#include "core/tensor/dtype_info.h"
#include "core/transform/dequantized_model.h"
#include "core/transform/load_rows.h"

namespace quant {
namespace {

constexpr int64_t kElementsPerTile = 1 << 18;

void FillTensor(const ModelReader& model, const TensorEntry& tensor,
                v1::TensorInfo& out) {
  out.set_name(tensor.name);
  out.set_dtype(std::string(TypeName(tensor)));
  for (int64_t dimension : tensor.shape) out.add_shape(dimension);
  out.set_role(RoleOf(tensor).role);
  out.set_file(model.files()[tensor.file].name);
  out.set_offset(tensor.offset);
  out.set_size_bytes(tensor.bytes);
}

// Counts what every number type would lose of all floating-point tensors.
class LossCounter {
 public:
  LossCounter(const ModelReader& model, ThreadPool& pool)
      : model_(model), pool_(pool), losses_(NumberTypes().size()) {
    for (const TensorEntry& tensor : model.tensors()) {
      if (!IsWeightFloat(tensor.dtype)) continue;
      const int64_t elements = *NumElements(tensor.shape);
      total_ += elements;
      for (int64_t at = 0; at < elements; at += kElementsPerTile) {
        tiles_.push_back(
            {&tensor, at, std::min(kElementsPerTile, elements - at)});
      }
    }
  }

  absl::Status Run() {
    pool_.RunOnAll([this](int) { Work(); });
    return status_;
  }

  void Fill(v1::ModelInfo& info) const {
    const auto types = NumberTypes();
    for (size_t i = 0; i < types.size(); ++i) {
      v1::DtypeFit& fit = *info.add_dtypes();
      fit.set_dtype(std::string(types[i].name));
      fit.set_bits(types[i].bits);
      fit.set_max(types[i].max);
      fit.set_min_normal(types[i].min_normal);
      fit.set_min_positive(types[i].min_positive);
      fit.set_decimal_digits(types[i].decimal_digits);
      fit.set_spacing_at_one(types[i].spacing_at_one);
      fit.set_overflow_count(losses_[i].overflow);
      fit.set_underflow_count(losses_[i].underflow);
      fit.set_total_count(total_);
    }
  }

 private:
  struct Tile {
    const TensorEntry* tensor;
    int64_t first;
    int64_t count;
  };

  void Work() {
    std::vector<uint8_t> raw;
    std::vector<float> values;
    std::vector<DtypeLoss> losses(losses_.size());
    absl::Status status;
    for (size_t i; (i = next_.fetch_add(1)) < tiles_.size() && status.ok();) {
      status = CountTile(tiles_[i], raw, values, losses);
    }
    std::lock_guard lock(mutex_);
    if (status_.ok()) status_ = status;
    for (size_t i = 0; i < losses.size(); ++i) {
      losses_[i].overflow += losses[i].overflow;
      losses_[i].underflow += losses[i].underflow;
    }
  }

  absl::Status CountTile(const Tile& tile, std::vector<uint8_t>& raw,
                         std::vector<float>& values,
                         std::vector<DtypeLoss>& losses) {
    const int64_t size = DTypeBits(tile.tensor->dtype) / 8;
    raw.resize(tile.count * size);
    values.resize(tile.count);
    QUANT_RETURN_IF_ERROR(
        model_.Read(*tile.tensor, tile.first * size, absl::MakeSpan(raw)));
    const LoadResult loaded = LoadRows(
        tile.tensor->dtype, raw, Nonfinite::kZero, absl::MakeSpan(values));
    if (loaded.first_nonfinite >= 0) {
      // Infinities overflow every type.
      for (DtypeLoss& loss : losses) loss.overflow += loaded.zeroed;
    }
    CountLosses(values, absl::MakeSpan(losses));
    return absl::OkStatus();
  }

  const ModelReader& model_;
  ThreadPool& pool_;
  std::vector<Tile> tiles_;
  std::atomic<size_t> next_{0};
  int64_t total_ = 0;
  std::mutex mutex_;
  absl::Status status_;
  std::vector<DtypeLoss> losses_;
};

// GGUF files say what they are in keys.
absl::Status FillFromKeys(const ModelReader& model, v1::ModelInfo& info) {
  QUANT_ASSIGN_OR_RETURN(
      const std::string* architecture,
      FindGguf<std::string>(model.kvs(), "general.architecture"));
  if (architecture != nullptr) info.set_architecture(*architecture);
  info.set_model_type("gguf");
  if (!HasBlocks(model)) return absl::OkStatus();
  std::string method = "gguf";
  QUANT_ASSIGN_OR_RETURN(const uint32_t* id,
                         FindGguf<uint32_t>(model.kvs(), "general.file_type"));
  for (const GgufFileType& type : GgufFileTypes()) {
    if (id != nullptr && type.id == *id)
      absl::StrAppend(&method, " ", type.name);
  }
  info.set_quant_method(method);
  return absl::OkStatus();
}

absl::Status FillDtypes(const ModelReader& model, ThreadPool& pool,
                        v1::ModelInfo& info) {
  std::unique_ptr<ModelReader> values;
  if (HasBlocks(model)) {
    QUANT_ASSIGN_OR_RETURN(values, DequantizedModel(model));
  }
  LossCounter counter(values ? *values : model, pool);
  QUANT_RETURN_IF_ERROR(counter.Run());
  counter.Fill(info);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::ModelInfo> DescribeModel(const ModelReader& model,
                                            bool dtypes, ThreadPool& pool) {
  v1::ModelInfo info;
  QUANT_ASSIGN_OR_RETURN(const ModelConfig config,
                         ParseModelConfig(model.config_json()));
  info.set_architecture(config.architecture);
  info.set_model_type(config.model_type);
  info.set_quant_method(config.quant_method);
  if (!model.kvs().empty()) QUANT_RETURN_IF_ERROR(FillFromKeys(model, info));
  int64_t parameters = 0, bytes = 0;
  for (const TensorEntry& tensor : model.tensors()) {
    parameters += *NumElements(tensor.shape);
    bytes += tensor.bytes;
    FillTensor(model, tensor, *info.add_tensors());
  }
  info.set_parameters(parameters);
  info.set_tensor_bytes(bytes);
  for (const SideFile& file : model.side_files()) {
    info.add_side_files(file.name);
  }
  if (dtypes) QUANT_RETURN_IF_ERROR(FillDtypes(model, pool, info));
  return info;
}

}  // namespace quant

#include "core/artifact/quantized_model.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/artifact/config_json.h"
#include "core/artifact/output_bytes.h"
#include "core/artifact/quant_settings.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// Weights that are decoded at a time.
constexpr int64_t kChunkElements = 1 << 19;

// Copies what bytes [begin, begin + bytes.size()) have of [at, at +
// out.size()).
void CopyOverlap(absl::Span<const uint8_t> bytes, int64_t begin, int64_t at,
                 absl::Span<uint8_t> out) {
  const int64_t from = std::max(begin, at);
  const int64_t to = std::min(begin + static_cast<int64_t>(bytes.size()),
                              at + static_cast<int64_t>(out.size()));
  if (from >= to) return;
  std::memcpy(out.data() + (from - at), bytes.data() + (from - begin),
              to - from);
}

// Which of a weight's outputs are read.
enum class Parts { kAll, kGrid };

// The bytes that the rows [out.first_row, out.first_row + out.rows) are stored
// as, and every output that belongs to all rows.
absl::Status ReadTile(const ModelReader& model, const StoredWeight& weight,
                      Parts parts, const CodeTile& rows, PackedTile& tile) {
  tile.ranges = weight.format->TileRanges(*weight.codec, weight.source,
                                          rows.first_row, rows.rows);
  std::vector<bool> there(weight.outputs.size());
  for (const ByteRange& range : tile.ranges) there[range.output] = true;
  if (parts == Parts::kGrid) {
    tile.ranges.erase(
        std::remove_if(tile.ranges.begin(), tile.ranges.end(),
                       [](const ByteRange& r) { return r.output == 0; }),
        tile.ranges.end());
  }
  for (size_t i = 0; i < weight.outputs.size(); ++i) {
    if (there[i]) continue;
    tile.ranges.push_back({.output = static_cast<int>(i),
                           .offset = 0,
                           .bytes = model.tensors()[weight.outputs[i]].bytes});
  }
  for (ByteRange& range : tile.ranges) {
    const TensorEntry& stored = model.tensors()[weight.outputs[range.output]];
    // Texts may be shorter or longer than ours.
    if (IsFreeText(stored.name)) range.bytes = stored.bytes;
    std::vector<uint8_t>& bytes = tile.scratch.emplace_back(range.bytes);
    QUANT_RETURN_IF_ERROR(
        model.Read(stored, range.offset, absl::MakeSpan(bytes)));
  }
  for (const auto& bytes : tile.scratch) tile.data.emplace_back(bytes);
  return absl::OkStatus();
}

void SetRows(const StoredWeight& weight, int64_t row, int64_t rows,
             CodeTile& out) {
  out.first_row = row;
  out.rows = rows;
  out.cols = weight.source.shape[1];
  out.column_groups.clear();
}

}  // namespace

absl::Status ReadCodes(const ModelReader& model, const StoredWeight& weight,
                       int64_t row, int64_t rows, CodeTile& out) {
  SetRows(weight, row, rows, out);
  PackedTile tile;
  QUANT_RETURN_IF_ERROR(ReadTile(model, weight, Parts::kAll, out, tile));
  return weight.format->UnpackTile(*weight.codec, weight.source, tile, out);
}

absl::Status ReadGrid(const ModelReader& model, const StoredWeight& weight,
                      int64_t row, int64_t rows, CodeTile& out) {
  SetRows(weight, row, rows, out);
  PackedTile tile;
  QUANT_RETURN_IF_ERROR(ReadTile(model, weight, Parts::kGrid, out, tile));
  return weight.format->UnpackGrid(*weight.codec, weight.source, tile, out);
}

absl::StatusOr<std::unique_ptr<QuantizedModel>> QuantizedModel::Make(
    const ModelReader& model, WeightsAs as) {
  QUANT_ASSIGN_OR_RETURN(std::vector<StoredWeight> weights,
                         FindStoredWeights(model));
  if (weights.empty()) return std::unique_ptr<QuantizedModel>();
  std::unique_ptr<QuantizedModel> made(
      new QuantizedModel(model, as, std::move(weights)));
  QUANT_RETURN_IF_ERROR(made->HideSettings());
  made->ListTensors();
  return made;
}

absl::Status QuantizedModel::HideSettings() {
  if (model_.config_json().empty()) return absl::OkStatus();
  QUANT_ASSIGN_OR_RETURN(OrderedJson config,
                         ParseConfigObject(model_.config_json()));
  config.erase("quantization_config");
  config.erase("compression_config");
  config_ = DumpConfig(config);
  return absl::OkStatus();
}

void QuantizedModel::ListTensors() {
  std::set<std::string> hidden;
  for (const StoredWeight& weight : weights_) {
    for (int output : weight.outputs) {
      hidden.insert(model_.tensors()[output].name);
    }
    const std::string module = ModuleOf(weight.source);
    // What concerns quantized activations only.
    for (const char* suffix :
         {".input_scale", ".input_global_scale", ".input_zero_point"}) {
      hidden.insert(absl::StrCat(module, suffix));
    }
    by_name_[weight.source.name] = &weight;
    const TensorEntry& codes = model_.tensors()[weight.outputs[0]];
    const DType dtype =
        as_ == WeightsAs::kCodes ? weight.source.dtype : DType::kF32;
    tensors_.push_back({.name = weight.source.name,
                        .dtype = dtype,
                        .shape = weight.source.shape,
                        .file = codes.file,
                        .offset = codes.offset,
                        .bytes = *TensorBytes(dtype, weight.source.shape)});
  }
  for (const TensorEntry& tensor : model_.tensors()) {
    if (hidden.count(tensor.name) == 0) tensors_.push_back(tensor);
  }
  std::sort(tensors_.begin(), tensors_.end(),
            [](const TensorEntry& a, const TensorEntry& b) {
              return a.name < b.name;
            });
}

const StoredWeight* QuantizedModel::Find(const std::string& name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second;
}

absl::Status QuantizedModel::Read(const TensorEntry& tensor, int64_t begin,
                                  absl::Span<uint8_t> out) const {
  const StoredWeight* found = Find(tensor.name);
  if (found == nullptr) return model_.Read(tensor, begin, out);
  if (as_ == WeightsAs::kCodes) {
    return MakeError(absl::StatusCode::kInternal, Reason::kInternal,
                     absl::StrCat(tensor.name, ": codes are read as codes"));
  }
  const StoredWeight& weight = *found;
  const int64_t all = weight.source.shape[0], cols = weight.source.shape[1];
  const int64_t row_bytes = cols * static_cast<int64_t>(sizeof(float));
  const int64_t end = begin + static_cast<int64_t>(out.size());
  const int64_t multiple = weight.format->ReadMultiple(*weight.codec);
  const int64_t chunk =
      std::max<int64_t>(kChunkElements / cols / multiple, 1) * multiple;
  CodeTile tile;
  std::vector<float> floats(cols);
  for (int64_t row = begin / row_bytes / multiple * multiple;
       row * row_bytes < end; row += chunk) {
    const int64_t needed = CeilDiv(end, row_bytes) - row;
    const int64_t rows =
        std::min({chunk, RoundUp(needed, multiple), all - row});
    QUANT_RETURN_IF_ERROR(ReadCodes(model_, weight, row, rows, tile));
    for (int64_t r = 0; r < rows; ++r) {
      weight.codec->DecodeTileRow(tile, r, floats.data());
      CopyOverlap(
          absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(floats.data()),
                              row_bytes),
          (row + r) * row_bytes, begin, out);
    }
  }
  return absl::OkStatus();
}

}  // namespace quant

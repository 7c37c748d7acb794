// A quantized model read back: its weights as the floats that loaders would
// compute with, and their codes. Built on what the formats write: a module is
// read by the format's own layout (TileRanges) and inverse (UnpackTile).
#ifndef QUANT_CORE_ARTIFACT_QUANTIZED_MODEL_H_
#define QUANT_CORE_ARTIFACT_QUANTIZED_MODEL_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/artifact/format.h"
#include "core/container/model_reader.h"

namespace quant {

// A weight [O, I] that is stored as codes.
struct StoredWeight {
  // "<module>.weight" [O, I]; the type is that of the format's scales.
  TensorEntry source;
  const ArtifactFormat* format = nullptr;
  std::shared_ptr<const Codec> codec;  // shared, so that this can be copied
  // Where the format's outputs are: indices into the stored model's tensors.
  std::vector<int> outputs;
};

// Which weights of a model are stored as codes, by its quantization_config
// (config.json, or the older quantize_config.json and quant_config.json) and by
// the shapes of its tensors, which are checked against each other. Empty for
// models that are not quantized. FAILED_PRECONDITION UNSUPPORTED for what is
// not read, naming it; DATA_LOSS MODEL_MALFORMED for shapes that disagree.
absl::StatusOr<std::vector<StoredWeight>> FindStoredWeights(
    const ModelReader& model);

// Codes of rows [row, row + rows), which begin at a multiple of the format's
// ReadMultiple and end at one or with the weight.
absl::Status ReadCodes(const ModelReader& model, const StoredWeight& weight,
                       int64_t row, int64_t rows, CodeTile& out);

// The same without the codes: scales, zero points and groups of columns.
absl::Status ReadGrid(const ModelReader& model, const StoredWeight& weight,
                      int64_t row, int64_t rows, CodeTile& out);

// What stands in the place of a weight's tensors.
enum class WeightsAs {
  kValues,  // F32, which can be read
  kCodes,   // something of the type of the scales, for formats to lay out; read
            // by ReadCodes
};

// The decorator: "<module>.weight" in the place of what it is stored as,
// everything else as it is; without quantization_config.
class QuantizedModel final : public ModelReader {
 public:
  // Refers to `model`, which outlives it. Null when it is not quantized.
  static absl::StatusOr<std::unique_ptr<QuantizedModel>> Make(
      const ModelReader& model, WeightsAs as = WeightsAs::kValues);

  const std::vector<StoredWeight>& weights() const { return weights_; }
  // The weight that is shown as `name`, or null.
  const StoredWeight* Find(const std::string& name) const;
  const ModelReader& stored() const { return model_; }

  const std::vector<TensorEntry>& tensors() const override { return tensors_; }
  const std::vector<WeightFile>& files() const override {
    return model_.files();
  }
  const std::string& config_json() const override { return config_; }
  const std::vector<SideFile>& side_files() const override {
    return model_.side_files();
  }
  absl::Status Read(const TensorEntry& tensor, int64_t begin,
                    absl::Span<uint8_t> out) const override;
  absl::Status CheckUnchanged() const override {
    return model_.CheckUnchanged();
  }
  const std::string& path() const override { return model_.path(); }
  std::string weight_path(int file) const override {
    return model_.weight_path(file);
  }

 private:
  QuantizedModel(const ModelReader& model, WeightsAs as,
                 std::vector<StoredWeight> weights)
      : model_(model), as_(as), weights_(std::move(weights)) {}
  absl::Status HideSettings();
  void ListTensors();

  const ModelReader& model_;
  const WeightsAs as_;
  std::vector<StoredWeight> weights_;
  std::map<std::string, const StoredWeight*> by_name_;
  std::vector<TensorEntry> tensors_;
  std::string config_;
};

}  // namespace quant

#endif  // QUANT_CORE_ARTIFACT_QUANTIZED_MODEL_H_

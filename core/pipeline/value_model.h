// A model as the values that loaders compute with, whatever they are stored as.
#ifndef QUANT_CORE_PIPELINE_VALUE_MODEL_H_
#define QUANT_CORE_PIPELINE_VALUE_MODEL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/artifact/quantized_model.h"
#include "core/container/model_reader.h"

namespace quant {

// How one tensor of values lies on disk.
struct StoredAs {
  std::string type;   // "BF16", "Q4_K", "codes"
  int64_t bytes = 0;  // scales and zero points included
};

class ValueModel {
 public:
  // Opens a model, or an artifact of any format that is read.
  static absl::StatusOr<ValueModel> Open(const std::string& path);

  // As it is stored.
  const ModelReader& stored() const { return *stored_; }
  // Plain tensors only.
  const ModelReader& values() const { return *values_; }

  bool is_gguf() const { return !values_->kvs().empty(); }
  // From now on under the names, shapes and row orders of GGUF files; the
  // tokenizer is not looked at.
  absl::Status ShowAsGguf();
  // From now on under those of the checkpoint that it was made of.
  absl::Status ShowAsCheckpoint();

  StoredAs StorageOf(const TensorEntry& value) const;

 private:
  ValueModel() = default;
  void Add(std::unique_ptr<ModelReader> view);
  // `quantized` is null when no weight is stored as codes.
  void FindStorage(const QuantizedModel* quantized);

  std::unique_ptr<ModelReader> stored_;
  // Each refers to the one before, the first to stored_.
  std::vector<std::unique_ptr<ModelReader>> views_;
  const ModelReader* values_ = nullptr;
  std::map<std::string, StoredAs> storage_;  // by the value's name
};

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_VALUE_MODEL_H_

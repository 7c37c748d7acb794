#include "core/pipeline/value_model.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/status_macros.h"
#include "core/transform/converted_model.h"
#include "core/transform/dequantized_model.h"
#include "core/transform/restored_model.h"

namespace quant {
namespace {

// "m.q_proj.input_scale" belongs to "m.q_proj".
std::string ModuleOf(const std::string& name) {
  const size_t dot = name.rfind('.');
  return dot == std::string::npos ? std::string() : name.substr(0, dot);
}

}  // namespace

absl::StatusOr<ValueModel> ValueModel::Open(const std::string& path) {
  ValueModel model;
  QUANT_ASSIGN_OR_RETURN(model.stored_, OpenModel(path));
  model.values_ = model.stored_.get();
  QUANT_ASSIGN_OR_RETURN(std::unique_ptr<QuantizedModel> quantized,
                         QuantizedModel::Make(*model.values_));
  model.FindStorage(quantized.get());
  if (quantized != nullptr) model.Add(std::move(quantized));
  if (HasBlocks(*model.values_)) {
    QUANT_ASSIGN_OR_RETURN(auto view, DequantizedModel(*model.values_));
    model.Add(std::move(view));
  }
  return model;
}

void ValueModel::Add(std::unique_ptr<ModelReader> view) {
  values_ = views_.emplace_back(std::move(view)).get();
}

absl::Status ValueModel::ShowAsGguf() {
  QUANT_ASSIGN_OR_RETURN(auto view,
                         ConvertedModel::CreateWithoutTokenizer(*values_));
  Add(std::move(view));
  // What a stack is made of lies in several places: types and sizes are those
  // of the values.
  storage_.clear();
  return absl::OkStatus();
}

absl::Status ValueModel::ShowAsCheckpoint() {
  QUANT_ASSIGN_OR_RETURN(auto view,
                         RestoredModel::CreateWithoutTokenizer(*values_));
  Add(std::move(view));
  storage_.clear();
  return absl::OkStatus();
}

void ValueModel::FindStorage(const QuantizedModel* quantized) {
  std::map<std::string, std::string> weight_of;  // by the name of a part
  std::set<std::string> values;
  if (quantized != nullptr) {
    for (const StoredWeight& weight : quantized->weights()) {
      for (int output : weight.outputs) {
        weight_of[stored_->tensors()[output].name] = weight.source.name;
      }
    }
    for (const TensorEntry& value : quantized->tensors()) {
      values.insert(value.name);
    }
  }
  for (const TensorEntry& tensor : stored_->tensors()) {
    const auto part = weight_of.find(tensor.name);
    std::string name = tensor.name;
    if (part != weight_of.end()) {
      name = part->second;
    } else if (quantized != nullptr && values.count(name) == 0) {
      // What concerns a module's activations.
      name = absl::StrCat(ModuleOf(name), ".weight");
    }
    StoredAs& storage = storage_[name];
    storage.bytes += tensor.bytes;
    if (part != weight_of.end()) {
      storage.type = "codes";
    } else if (storage.type.empty()) {
      storage.type = std::string(TypeName(tensor));
    }
  }
}

StoredAs ValueModel::StorageOf(const TensorEntry& value) const {
  const auto found = storage_.find(value.name);
  if (found != storage_.end()) return found->second;
  return {.type = std::string(TypeName(value)), .bytes = value.bytes};
}

}  // namespace quant

#include "core/pipeline/value_model.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/artifact/quantized_model.h"
#include "core/base/status_macros.h"
#include "core/transform/converted_model.h"
#include "core/transform/dequantized_model.h"

namespace quant {
namespace {

// "m.q_proj.weight" and "m.q_proj.weight_scale" belong to "m.q_proj".
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
  if (quantized != nullptr) model.Add(std::move(quantized));
  if (HasBlocks(*model.values_)) {
    QUANT_ASSIGN_OR_RETURN(auto view, DequantizedModel(*model.values_));
    model.Add(std::move(view));
  }
  model.FindStorage();
  return model;
}

void ValueModel::Add(std::unique_ptr<ModelReader> view) {
  values_ = views_.emplace_back(std::move(view)).get();
}

absl::Status ValueModel::ShowAsGguf() {
  QUANT_ASSIGN_OR_RETURN(auto view, ConvertedModel::Create(*values_));
  Add(std::move(view));
  // What a stack is made of lies in several places: types and sizes are those
  // of the values.
  storage_.clear();
  return absl::OkStatus();
}

void ValueModel::FindStorage() {
  std::map<std::string, const TensorEntry*> by_name;
  for (const TensorEntry& value : values_->tensors()) {
    by_name[value.name] = &value;
  }
  for (const TensorEntry& tensor : stored_->tensors()) {
    const auto same = by_name.find(tensor.name);
    // What has no value of its name is a part of its module's weight.
    const bool part = same == by_name.end();
    const std::string name =
        part ? absl::StrCat(ModuleOf(tensor.name), ".weight") : tensor.name;
    StoredAs& storage = storage_[name];
    storage.bytes += tensor.bytes;
    if (part) {
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

#include "core/pipeline/input_scaling.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/calibrate/input_spaces.h"
#include "core/tensor/float_formats.h"

namespace quant {
namespace {

class Planner {
 public:
  Planner(const ModelReader& model, OutputPlan& plan)
      : model_(model), plan_(plan) {
    for (size_t i = 0; i < plan.tensors.size(); ++i) {
      index_[model.tensors()[plan.tensors[i].source].name] = i;
    }
  }

  absl::Status Run() {
    QUANT_ASSIGN_OR_RETURN(const NetworkConfig config,
                           ParseNetworkConfig(model_.config_json()));
    for (size_t layer = 0; layer < config.layers.size(); ++layer) {
      for (const Fold& fold : FoldsOf(config, static_cast<int64_t>(layer))) {
        const std::string obstacle = ObstacleOf(fold);
        obstacle.empty() ? Scale(fold) : Leave(fold, obstacle);
      }
    }
    return absl::OkStatus();
  }

 private:
  TensorPlan* Find(const std::string& tensor) {
    const auto found = index_.find(tensor);
    return found == index_.end() ? nullptr : &plan_.tensors[found->second];
  }
  TensorPlan* WeightOf(const std::string& module) {
    return Find(absl::StrCat(module, ".weight"));
  }

  bool IsCalibrated(const std::string& module) {
    const TensorPlan* plan = WeightOf(module);
    return plan != nullptr && plan->calibrated;
  }

  std::string ObstacleOf(const Fold& fold) {
    if (!fold.obstacle.empty()) return fold.obstacle;
    for (const std::string& reader : fold.readers) {
      if (!IsCalibrated(reader)) {
        return absl::StrCat(reader, " reads them, too, and is not calibrated");
      }
    }
    const TensorPlan* source = WeightOf(fold.source);
    if (fold.is_norm && (source == nullptr || source->quantized)) {
      return absl::StrCat(fold.source, " is not copied");
    }
    if (!fold.is_norm && !IsCalibrated(fold.source)) {
      return absl::StrCat(fold.source, ", which makes them, is not calibrated");
    }
    return "";
  }

  void Scale(const Fold& fold) {
    for (const std::string& reader : fold.readers) {
      TensorPlan& plan = *WeightOf(reader);
      plan.scaled = true;
      absl::StrAppend(&plan.reason, "; inputs scaled by ", fold.source);
    }
    TensorPlan& source = *WeightOf(fold.source);
    source.divided = true;
    const std::string why =
        absl::StrCat("; divided by the scales of what ",
                     absl::StrJoin(fold.readers, ", "), " read");
    source.reason += why;
    if (fold.is_norm) return;
    if (TensorPlan* bias = Find(absl::StrCat(fold.source, ".bias"))) {
      bias->divided = true;
      bias->reason += why;
    }
  }

  void Leave(const Fold& fold, const std::string& obstacle) {
    for (const std::string& reader : fold.readers) {
      if (!IsCalibrated(reader)) continue;
      absl::StrAppend(&WeightOf(reader)->reason,
                      "; inputs not scaled: ", obstacle);
    }
  }

  const ModelReader& model_;
  OutputPlan& plan_;
  std::map<std::string, size_t> index_;
};

}  // namespace

absl::Status PlanInputScaling(const ModelReader& model, OutputPlan& plan) {
  const bool any =
      std::any_of(plan.tensors.begin(), plan.tensors.end(),
                  [](const TensorPlan& tensor) { return tensor.calibrated; });
  if (!any) return absl::OkStatus();
  QUANT_ASSIGN_OR_RETURN(const QuantMethod* method,
                         FindMethod(plan.request.method));
  if (!method->ScalesInputs()) return absl::OkStatus();
  return Planner(model, plan).Run();
}

BlockScaling::BlockScaling(const NetworkConfig& config, int64_t layer,
                           const CalibratedCodes& codes, Block& block,
                           CalibratedBlock& file)
    : layer_(layer),
      codes_(codes),
      block_(block),
      file_(file),
      folds_(FoldsOf(config, layer)) {
  for (const InputSpace& space : InputSpacesOf(block)) {
    linears_.insert(linears_.end(), space.linears.begin(), space.linears.end());
  }
}

const CodesPlace* BlockScaling::PlaceOf(const std::string& module) const {
  const std::string tensor = absl::StrCat(module, ".weight");
  for (const CodesPlace& place : codes_.places(layer_)) {
    if (place.tensor == tensor) return &place;
  }
  return nullptr;
}

const ValuesPlace* BlockScaling::ValuesOf(const std::string& tensor) const {
  for (const ValuesPlace& place : codes_.values(layer_)) {
    if (place.tensor == tensor) return &place;
  }
  return nullptr;
}

Linear* BlockScaling::LinearOf(const std::string& module) {
  for (Linear* linear : linears_) {
    if (linear->name == module) return linear;
  }
  return nullptr;
}

absl::Status BlockScaling::Begin(const WeightLoader& loader) {
  for (const CodesPlace& place : codes_.places(layer_)) {
    if (place.scaled) {
      file_.PutFloats(place.factors_at(), std::vector<float>(place.cols, 1));
    }
    if (place.divided) {
      file_.PutFloats(place.divisors_at(), std::vector<float>(place.rows, 1));
    }
  }
  for (const ValuesPlace& place : codes_.values(layer_)) {
    QUANT_ASSIGN_OR_RETURN(const std::vector<float> values,
                           loader.Load(place.tensor, {place.count}));
    file_.PutFloats(place.offset, values);
  }
  return absl::OkStatus();
}

const Fold* BlockScaling::FoldOf(const Linear& reader) const {
  const CodesPlace* place = PlaceOf(reader.name);
  if (place == nullptr || !place->scaled) return nullptr;
  for (const Fold& fold : folds_) {
    if (std::find(fold.readers.begin(), fold.readers.end(), reader.name) !=
        fold.readers.end()) {
      return &fold;
    }
  }
  return nullptr;
}

void BlockScaling::Apply(const Fold& fold, std::vector<float>& factors) {
  fold.is_norm ? DivideNorm(fold, factors) : DivideRows(fold, factors);
  for (const std::string& reader : fold.readers) {
    MultiplyColumns(*LinearOf(reader), factors);
  }
}

void BlockScaling::DivideNorm(const Fold& fold, std::vector<float>& factors) {
  const ValuesPlace& place = *ValuesOf(absl::StrCat(fold.source, ".weight"));
  std::vector<float> values = file_.GetFloats(place.offset, place.count);
  for (int64_t i = 0; i < place.count; ++i) {
    const float before = fold.norm_offset + values[i];
    const float value =
        RoundToType(place.dtype, before / factors[i] - fold.norm_offset);
    const float factor = before / (fold.norm_offset + value);
    const bool fits = std::isnormal(factor) && factor > 0;
    factors[i] = fits ? factor : 1.0f;
    if (fits) values[i] = value;
  }
  file_.PutFloats(place.offset, values);
}

void BlockScaling::DivideRows(const Fold& fold,
                              const std::vector<float>& factors) {
  Linear& source = *LinearOf(fold.source);
  // Several columns may be of one row; they have the same factor.
  std::vector<float> divisors(source.out, 1.0f);
  for (size_t i = 0; i < fold.rows.size(); ++i) {
    divisors[fold.rows[i]] = factors[i];
  }
  for (int64_t r = 0; r < source.out; ++r) {
    float* row = source.weight.data() + r * source.in;
    for (int64_t i = 0; i < source.in; ++i) row[i] /= divisors[r];
  }
  file_.PutFloats(PlaceOf(fold.source)->divisors_at(), divisors);
  const ValuesPlace* bias = ValuesOf(absl::StrCat(fold.source, ".bias"));
  if (bias == nullptr) return;
  std::vector<float> values = file_.GetFloats(bias->offset, bias->count);
  for (int64_t r = 0; r < bias->count; ++r) {
    values[r] = RoundToType(bias->dtype, values[r] / divisors[r]);
  }
  file_.PutFloats(bias->offset, values);
}

void BlockScaling::MultiplyColumns(Linear& reader,
                                   const std::vector<float>& factors) {
  for (int64_t r = 0; r < reader.out; ++r) {
    float* row = reader.weight.data() + r * reader.in;
    for (int64_t i = 0; i < reader.in; ++i) row[i] *= factors[i];
  }
  file_.PutFloats(PlaceOf(reader.name)->factors_at(), factors);
}

void BlockScaling::TakeValues() {
  for (const Fold& fold : folds_) {
    const std::string tensor =
        absl::StrCat(fold.source, fold.is_norm ? ".weight" : ".bias");
    const ValuesPlace* place = ValuesOf(tensor);
    if (place == nullptr) continue;
    std::vector<float> values = file_.GetFloats(place->offset, place->count);
    for (float& value : values) value += fold.norm_offset;
    if (!fold.is_norm) {
      LinearOf(fold.source)->bias = std::move(values);
    } else {
      const bool attention = fold.readers == folds_.front().readers;
      (attention ? block_.attention_norm : block_.mlp_norm) = std::move(values);
    }
  }
}

}  // namespace quant

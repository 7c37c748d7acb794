#include "core/pipeline/input_survey.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/artifact/format.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/calibrate/calibration.h"
#include "core/calibrate/importance.h"
#include "core/calibrate/input_summary.h"
#include "core/pipeline/keep_for.h"
#include "core/pipeline/view.h"

namespace quant {
namespace {

bool IsGguf(const OutputRequest& request) {
  const auto format = FindFormat(request.format);
  return format.ok() && (*format)->Names() == TensorNames::kGguf;
}

// The forward pass needs a checkpoint's names, and values.
absl::StatusOr<ModelView> AsCheckpoint(const ModelReader& source) {
  OutputRequest floats;
  floats.format = "dequantized";
  return MakeView(source, {.outputs = {floats}});
}

// "...experts.7.w1.weight" -> "...experts.*.w1.weight"; empty for others.
std::string SiblingsOf(const std::string& name) {
  constexpr absl::string_view kExperts = ".experts.";
  const size_t at = name.find(kExperts.data());
  if (at == std::string::npos) return "";
  const size_t number = at + kExperts.size();
  const size_t end = name.find('.', number);
  if (end == std::string::npos) return "";
  return absl::StrCat(name.substr(0, number), "*", name.substr(end));
}

// Experts that met no token get what the others of their layer met.
class UnseenExperts {
 public:
  explicit UnseenExperts(const InputSummaries& summaries) {
    for (const auto& [name, summary] : summaries) {
      const std::string siblings = SiblingsOf(name);
      if (siblings.empty() || summary.tokens == 0) continue;
      InputSummary& most = most_[siblings];
      most.tokens += summary.tokens;
      most.absmax.resize(summary.absmax.size());
      for (size_t i = 0; i < most.absmax.size(); ++i) {
        most.absmax[i] = std::max(most.absmax[i], summary.absmax[i]);
      }
    }
  }

  const InputSummary* Find(const std::string& name) const {
    const auto found = most_.find(SiblingsOf(name));
    return found == most_.end() ? nullptr : &found->second;
  }

 private:
  InputSummaries most_;
};

class Survey {
 public:
  Survey(const ModelReader& source, const ExecuteOptions& options, Plan& plan)
      : source_(source), options_(options), plan_(plan) {}

  absl::StatusOr<SurveyResult> Run(const std::string& file) {
    QUANT_RETURN_IF_ERROR(OpenCheckpoint());
    QUANT_ASSIGN_OR_RETURN(summaries_, LoadOrMeasure(file));
    for (OutputPlan& output : plan_.outputs) {
      if (!NeedsSurvey(output)) continue;
      QUANT_RETURN_IF_ERROR(FillImportance(output.request));
      QUANT_RETURN_IF_ERROR(FillInputs(output));
    }
    return std::move(result_);
  }

 private:
  absl::Status OpenCheckpoint() {
    QUANT_ASSIGN_OR_RETURN(view_, AsCheckpoint(source_));
    checkpoint_ = view_.model ? view_.model.get() : &source_;
    return absl::OkStatus();
  }

  // The outputs that need a survey share their text, and what is kept of it.
  const OutputRequest& Surveyed() const {
    return std::find_if(plan_.outputs.begin(), plan_.outputs.end(), NeedsSurvey)
        ->request;
  }

  absl::StatusOr<InputSummaries> LoadOrMeasure(const std::string& file) {
    const OutputRequest& request = Surveyed();
    if (request.statistics != nullptr) return request.statistics->Summaries();
    if (PathExists(file)) {
      QUANT_ASSIGN_OR_RETURN(const FileIdentity identity, IdentityOf(file));
      QUANT_ASSIGN_OR_RETURN(const std::string bytes,
                             ReadFile(file, identity.size_bytes));
      if (auto found = UnsealSummaries(bytes)) return *std::move(found);
    }
    RunOptions run;
    run.pool = options_.pool;
    run.stop = options_.stop;
    run.spill = {.memory_bytes = kHiddenBytes, .directory = options_.work_dir};
    run.keep = KeepFor(options_, plan_, ParentPath(file));
    run.progress = [this](double fraction) { Report(fraction); };
    Report(0);
    QUANT_ASSIGN_OR_RETURN(
        InputSummaries summaries,
        SummarizeInputs(*checkpoint_, request.calibration->data, run));
    QUANT_RETURN_IF_ERROR(
        WriteFileAtomically(file, SealSummaries(summaries), options_.sync));
    QUANT_RETURN_IF_ERROR(RemoveTree(run.keep.path));
    if (options_.journal) options_.journal(1);
    return summaries;
  }

  void Report(double fraction) const {
    if (!options_.progress) return;
    ProgressUpdate update{
        .stage = "CALIBRATING",
        .tensors_total = static_cast<int64_t>(plan_.order.size()),
        .bytes_total = plan_.source_bytes,
        .tensor = "inputs"};
    update.bytes_done = static_cast<int64_t>(
        fraction * static_cast<double>(plan_.source_bytes));
    options_.progress(update);
  }

  absl::Status FillImportance(OutputRequest& request) const {
    if (!MeasuresImportance(request)) return absl::OkStatus();
    QUANT_ASSIGN_OR_RETURN(Imatrix matrix,
                           ImportanceOf(*checkpoint_, summaries_));
    request.measured_importance =
        std::make_shared<const Imatrix>(std::move(matrix));
    return absl::OkStatus();
  }

  absl::Status FillInputs(OutputPlan& output) {
    const UnseenExperts unseen(summaries_);
    const ModelReader& viewed = ViewedModel(source_, plan_);
    for (TensorPlan& tensor : output.tensors) {
      if (!tensor.quantized || !IsStatic(tensor.scheme.activations)) continue;
      const std::string& name = viewed.tensors()[tensor.source].name;
      const auto found = summaries_.find(name);
      if (found == summaries_.end()) return Unknown(name);
      const InputSummary* inputs = &found->second;
      if (inputs->tokens == 0) {
        ++result_.unseen;
        const InputSummary* others = unseen.Find(name);
        result_.notes.push_back(absl::StrCat(
            name, ": met no token; its inputs are scaled ",
            others ? "like those of the layer's other experts" : "by 1"));
        if (others != nullptr) inputs = others;
      }
      const TensorEntry& weight = viewed.tensors()[tensor.source];
      if (static_cast<int64_t>(inputs->absmax.size()) != weight.shape.back()) {
        return OfOtherShape(weight, inputs->absmax.size());
      }
      tensor.inputs =
          std::make_shared<const std::vector<float>>(inputs->absmax);
    }
    return absl::OkStatus();
  }

  // Statistics that were kept may be of any model.
  static absl::Status OfOtherShape(const TensorEntry& weight, size_t columns) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, Reason::kSourceChanged,
        absl::StrCat(weight.name, ": the statistics are of ", columns,
                     " columns; it has ", weight.shape.back(),
                     "; calibrate this model"));
  }

  static absl::Status Unknown(const std::string& name) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, Reason::kUnsupported,
        absl::StrCat(name,
                     ": static activations were planned, but the forward pass "
                     "has no such weight; leave it out with a rule"));
  }

  const ModelReader& source_;
  const ExecuteOptions& options_;
  Plan& plan_;
  ModelView view_;
  const ModelReader* checkpoint_ = nullptr;
  InputSummaries summaries_;
  SurveyResult result_;
};

}  // namespace

bool WeighsByText(const OutputRequest& request) {
  return request.importance == nullptr && !request.keep_codes &&
         request.scheme.has_inner_scales() && IsGguf(request);
}

bool MeasuresImportance(const OutputRequest& request) {
  return request.calibration != nullptr && WeighsByText(request);
}

bool HasStaticInputs(const OutputRequest& request) {
  if (request.keep_codes) return false;
  return IsStatic(request.scheme.activations) ||
         std::any_of(request.rules.begin(), request.rules.end(),
                     [](const TensorRule& rule) {
                       return rule.scheme && IsStatic(rule.scheme->activations);
                     });
}

bool NeedsSurvey(const OutputPlan& output) {
  return MeasuresImportance(output.request) ||
         std::any_of(output.tensors.begin(), output.tensors.end(),
                     [](const TensorPlan& tensor) {
                       return tensor.quantized &&
                              IsStatic(tensor.scheme.activations);
                     });
}

absl::StatusOr<PassBounds> BoundsOfSurvey(const ModelReader& source,
                                          const OutputRequest& request,
                                          int threads) {
  QUANT_ASSIGN_OR_RETURN(const ModelView view, AsCheckpoint(source));
  const ModelReader& viewed = view.model ? *view.model : source;
  QUANT_ASSIGN_OR_RETURN(const NetworkConfig config,
                         ParseNetworkConfig(viewed.config_json()));
  PassBounds bounds =
      BoundsOfPasses(config, SequencesOf(request.calibration->data), threads);
  // Statistics of a block, and summaries of all of them, thrice while they are
  // written.
  int64_t columns = 0;
  for (const TensorEntry& tensor : viewed.tensors()) {
    columns += tensor.shape.empty() ? 1 : tensor.shape.back();
  }
  bounds.memory_bytes += 3 * 8 * columns;
  bounds.disk_bytes += 8 * columns + bounds.kept_bytes;
  return bounds;
}

absl::StatusOr<SurveyResult> SurveyInputs(const ModelReader& source,
                                          const std::string& file,
                                          const ExecuteOptions& options,
                                          Plan& plan) {
  return Survey(source, options, plan).Run(file);
}

}  // namespace quant

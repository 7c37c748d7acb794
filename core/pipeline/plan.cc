#include "core/pipeline/plan.h"

#include <algorithm>
#include <iterator>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/architecture/model_config.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/base/version.h"
#include "core/kernels/gemm.h"
#include "core/pipeline/allocate.h"
#include "core/pipeline/bounds.h"
#include "core/pipeline/calibrated_codes.h"
#include "core/pipeline/carry.h"
#include "core/pipeline/check_request.h"
#include "core/pipeline/decide.h"
#include "core/pipeline/escalate.h"
#include "core/pipeline/input_scaling.h"
#include "core/pipeline/input_survey.h"
#include "core/pipeline/layout.h"
#include "core/pipeline/reports.h"
#include "core/pipeline/text_bounds.h"
#include "core/pipeline/view.h"
#include "core/transform/dequantized_model.h"

namespace quant {
namespace {

// Why the model counts as quantized already; empty when it does not.
std::string WhyQuantized(const ModelReader& model, const ModelConfig& config) {
  if (!config.quant_method.empty()) {
    return absl::StrCat("config.json has a quantization_config (",
                        config.quant_method, ")");
  }
  for (const TensorEntry& tensor : model.tensors()) {
    if (tensor.block_type) {
      return absl::StrCat("tensor \"", tensor.name, "\" is ", TypeName(tensor));
    }
    for (absl::string_view suffix :
         {".weight_packed", ".qweight", ".weight_scale", ".weight_scale_inv",
          ".weight.absmax", ".SCB"}) {
      if (absl::EndsWith(tensor.name, suffix)) {
        return absl::StrCat("tensor \"", tensor.name, "\" holds codes");
      }
    }
  }
  return "";
}

// Whether an output only wants the values, or was told to take what there is.
bool TakesQuantized(const OutputRequest& output) {
  return output.allow_requantize || output.keep_codes ||
         output.scheme.is_cast();
}

absl::Status CheckNotQuantized(const ModelReader& model,
                               const ModelConfig& config,
                               const PlanRequest& request) {
  const std::string why = WhyQuantized(model, config);
  if (why.empty()) return absl::OkStatus();
  // Codes that no configuration explains can't be read.
  const bool readable = HasBlocks(model) || !config.quant_method.empty();
  const bool taken =
      readable && std::all_of(request.outputs.begin(), request.outputs.end(),
                              TakesQuantized);
  if (taken) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, Reason::kPlanRefused,
                   absl::StrCat(model.path(), ": is quantized already: ", why,
                                "; quantize the original weights",
                                readable ? ", or allow to requantize "
                                           "(--allow-requantize)"
                                         : ""));
}

// What GGUF files say of the importance matrix that they were made with.
std::vector<GgufKv> ImportanceKeys(const OutputRequest& request) {
  if (MeasuresImportance(request)) {
    return {{"quantize.imatrix.dataset", request.calibration->name},
            {"quantize.imatrix.chunks_count",
             static_cast<uint32_t>(request.calibration->data.sequences)}};
  }
  if (request.importance == nullptr) return {};
  const Imatrix& matrix = request.importance->matrix;
  std::vector<GgufKv> keys = {
      {"quantize.imatrix.file", request.importance->file_name}};
  if (!matrix.datasets.empty()) {
    keys.push_back({"quantize.imatrix.dataset", matrix.datasets[0]});
  }
  keys.push_back({"quantize.imatrix.entries_count",
                  static_cast<uint32_t>(matrix.entries.size())});
  keys.push_back(
      {"quantize.imatrix.chunks_count", static_cast<uint32_t>(matrix.chunks)});
  return keys;
}

// Plans one output, its tensors in the model's order.
class OutputPlanner {
 public:
  // `codes`: the model, when its codes are kept; else null.
  OutputPlanner(const ModelReader& model, const QuantizedModel* codes,
                const std::vector<TensorRole>& roles,
                const PlanRequest& request)
      : model_(model),
        codes_(codes),
        roles_(roles),
        whole_(request),
        pool_(request.pool) {}

  absl::StatusOr<OutputPlan> Run(const OutputRequest& request) {
    QUANT_ASSIGN_OR_RETURN(OutputPlan plan, Schemes(request));
    QUANT_ASSIGN_OR_RETURN(const LoaderCheck loader,
                           LoaderCheck::Make(request.loader, request.format));
    std::vector<Scheme> schemes;
    for (const TensorPlan& tensor : plan.tensors) {
      if (tensor.quantized) schemes.push_back(tensor.scheme);
    }
    plan.loader_notes = loader.Notes(schemes);
    return plan;
  }

 private:
  absl::StatusOr<OutputPlan> Schemes(OutputRequest request) {
    QUANT_ASSIGN_OR_RETURN(format_, FindFormat(request.format));
    if (codes_ != nullptr) {
      QUANT_ASSIGN_OR_RETURN(const std::vector<Decision> carried,
                             DecideCarried(*codes_, roles_, request, *format_));
      return LayOut(request, carried);
    }
    request.scheme = format_->Narrowed(request.scheme);
    for (TensorRule& rule : request.rules) {
      if (rule.scheme) rule.scheme = format_->Narrowed(*rule.scheme);
    }
    QUANT_ASSIGN_OR_RETURN(std::vector<Decision> decisions,
                           DecideTensors(model_, roles_, request, *format_));
    const auto lay_out = [&](const std::vector<Decision>& chosen) {
      return LayOut(request, chosen);
    };
    if (!request.assigned.empty()) {
      Assign(request, decisions);
      return lay_out(decisions);
    }
    if (!request.target) return lay_out(decisions);
    return PlanForTarget({.model = &model_,
                          .roles = &roles_,
                          .request = &request,
                          .format = format_,
                          .decisions = std::move(decisions),
                          .lay_out = lay_out,
                          .pool = pool_});
  }

  void Assign(const OutputRequest& request,
              std::vector<Decision>& decisions) const {
    for (size_t i = 0; i < decisions.size(); ++i) {
      const auto it = request.assigned.find(model_.tensors()[i].name);
      if (it == request.assigned.end()) continue;
      const std::optional<Scheme>& scheme = it->second.scheme;
      decisions[i] = {.quantized = scheme.has_value(),
                      .scheme = scheme.value_or(Scheme()),
                      .reason = it->second.reason};
    }
  }

  absl::StatusOr<OutputPlan> LayOut(const OutputRequest& request,
                                    const std::vector<Decision>& decisions) {
    OutputPlan plan;
    plan.request = request;
    for (size_t i = 0; i < decisions.size(); ++i) {
      QUANT_RETURN_IF_ERROR(AddTensor(static_cast<int>(i), decisions[i], plan));
    }
    QUANT_RETURN_IF_ERROR(PlanInputScaling(model_, plan));
    QUANT_RETURN_IF_ERROR(Place(plan));
    QUANT_RETURN_IF_ERROR(AddTexts(plan));
    AddFiles(plan);
    plan.bits_per_weight = BitsPerWeight(plan);
    return plan;
  }

  absl::Status AddTensor(int index, const Decision& decision,
                         OutputPlan& plan) {
    const TensorEntry& source = model_.tensors()[index];
    TensorPlan tensor{.source = index,
                      .role = roles_[index].role,
                      .quantized = decision.quantized,
                      .scheme = decision.scheme,
                      .method = {},
                      .reason = decision.reason,
                      .output_bytes = 0,
                      .outputs = {},
                      .measured_with = {}};
    if (decision.quantized) {
      if (codes_ == nullptr) {
        tensor.method = plan.request.method;
        QUANT_RETURN_IF_ERROR(SetCalibrated(index, plan.request, tensor));
        QUANT_RETURN_IF_ERROR(CheckInputsSeen(index, tensor.scheme));
      }
      QUANT_ASSIGN_OR_RETURN(const auto codec, MakeCodec(tensor.scheme));
      tensor.outputs = format_->Outputs(*codec, source);
      if (plan.request.importance != nullptr && codec->chooses_scales()) {
        const auto& entries = plan.request.importance->matrix.entries;
        tensor.reason += entries.count(source.name) > 0
                             ? "; weighted by importance"
                             : "; of no importance matrix entry";
      }
      if (MeasuresImportance(plan.request) && codec->chooses_scales() &&
          source.name.find("blk.") == 0) {
        tensor.reason += "; weighted by the inputs that calibration shows";
      }
      if (format_->SharesTensorScale(decision.scheme)) {
        tensor.measured_with = PartsOf(index);
      }
    } else {
      tensor.outputs = {{.name = source.name,
                         .dtype = source.dtype,
                         .shape = source.shape,
                         .bytes = source.bytes}};
    }
    for (const OutputTensor& output : tensor.outputs) {
      tensor.output_bytes += output.bytes;
    }
    plan.tensors.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  // Whether calibration sees the tensor's inputs: those of the blocks' Linears.
  bool IsSeen(int index) const {
    return roles_[index].module_class == ModuleClass::kLinear &&
           model_.tensors()[index].shape.size() == 2 &&
           LayerOf(roles_[index].module) >= 0;
  }

  absl::Status CheckInputsSeen(int index, const Scheme& scheme) const {
    if (!IsStatic(scheme.activations) || IsSeen(index)) return absl::OkStatus();
    return MakeError(
        absl::StatusCode::kFailedPrecondition, Reason::kPlanRefused,
        absl::StrCat(model_.tensors()[index].name, ": scheme \"", scheme.name,
                     "\" needs to know its inputs, and calibration sees those "
                     "of Linears in blocks; the nearest is \"",
                     DynamicTwin(scheme.activations), "\""));
  }

  // Whether the calibrated stage chooses the codes.
  absl::Status SetCalibrated(int index, const OutputRequest& request,
                             TensorPlan& tensor) const {
    QUANT_ASSIGN_OR_RETURN(const QuantMethod* method,
                           FindMethod(request.method));
    if (method->Needs() == Statistics::kNone) return absl::OkStatus();
    tensor.calibrated = IsSeen(index);
    if (tensor.calibrated) {
      tensor.scheme = WithGroups(request, tensor.scheme);
    } else {
      tensor.reason += "; rounded to nearest: its inputs are not calibrated";
    }
    return absl::OkStatus();
  }

  // The matrices that are merged with tensor `index` and exist.
  std::vector<int> PartsOf(int index) const {
    std::vector<int> parts;
    const std::vector<std::string> modules = FusedWith(roles_[index].module);
    if (modules.size() < 2 || !roles_[index].is_matrix) return parts;
    const std::vector<TensorEntry>& tensors = model_.tensors();
    for (const std::string& module : modules) {
      const std::string name = absl::StrCat(module, ".weight");
      const auto it =
          std::lower_bound(tensors.begin(), tensors.end(), name,
                           [](const TensorEntry& t, const std::string& n) {
                             return t.name < n;
                           });
      const int at = static_cast<int>(it - tensors.begin());
      if (it == tensors.end() || it->name != name || !roles_[at].is_matrix) {
        continue;
      }
      parts.push_back(at);
    }
    return parts;
  }

  absl::Status Place(OutputPlan& plan) {
    LayoutRequest request{.model = &model_,
                          .scheme = &plan.request.scheme,
                          .groups = {},
                          .keys = ImportanceKeys(plan.request),
                          .max_shard_bytes = plan.request.max_shard_bytes};
    for (TensorPlan& tensor : plan.tensors) {
      request.groups.push_back(absl::MakeSpan(tensor.outputs));
    }
    QUANT_ASSIGN_OR_RETURN(plan.layout, format_->LayOut(request));
    return absl::OkStatus();
  }

  absl::Status AddTexts(OutputPlan& plan) {
    std::vector<QuantizedModule> modules;
    for (const TensorPlan& tensor : plan.tensors) {
      if (!roles_[tensor.source].is_matrix && !tensor.quantized) continue;
      modules.push_back({.role = roles_[tensor.source],
                         .source = &model_.tensors()[tensor.source],
                         .quantized = tensor.quantized,
                         .scheme = tensor.scheme});
    }
    QUANT_ASSIGN_OR_RETURN(std::string config,
                           format_->Config(model_.config_json(), modules));
    if (!config.empty()) {
      plan.layout.texts.push_back({"config.json", std::move(config)});
    }
    QUANT_ASSIGN_OR_RETURN(std::vector<TextFile> more,
                           format_->MoreTexts(modules));
    std::move(more.begin(), more.end(), std::back_inserter(plan.layout.texts));
    if (format_->CarriesSideFiles()) {
      plan.layout.side_files = model_.side_files();
      for (const MadeFile& file : model_.made_files()) {
        plan.layout.texts.push_back({file.name, file.text});
      }
    }
    return absl::OkStatus();
  }

  void AddFiles(OutputPlan& plan) {
    if (whole_.report) {
      plan.reports = PlannedReportFiles(
          PlannedReport(model_, plan, whole_.evaluation.get(), whole_.gates));
    }
    const Manifest manifest =
        PlannedManifest(model_, plan, whole_.evaluation.get(), whole_.gates);
    plan.layout.manifest_bytes =
        static_cast<int64_t>(ManifestToJson(manifest).size());
    for (const ManifestFile& file : manifest.files) {
      plan.files.push_back({file.path, file.size_bytes});
    }
    plan.files.push_back({kManifestName, plan.layout.manifest_bytes});
    std::sort(plan.files.begin(), plan.files.end(),
              [](const auto& a, const auto& b) { return a.path < b.path; });
    for (const PlannedFile& file : plan.files) {
      plan.total_bytes += file.size_bytes;
    }
  }

  double BitsPerWeight(const OutputPlan& plan) const {
    double bits = 0, weights = 0;
    for (const TensorPlan& tensor : plan.tensors) {
      const TensorEntry& source = model_.tensors()[tensor.source];
      if (!IsWeightFloat(source.dtype)) continue;
      bits += 8.0 * static_cast<double>(tensor.output_bytes);
      weights += static_cast<double>(*NumElements(source.shape));
    }
    return weights == 0 ? 0 : bits / weights;
  }

  const ModelReader& model_;
  const QuantizedModel* const codes_;
  const std::vector<TensorRole>& roles_;
  const PlanRequest& whole_;
  ThreadPool* const pool_;
  const ArtifactFormat* format_ = nullptr;
};

// Order of processing: that of the first output's files, so that bytes arrive
// about in the order in which they are hashed.
std::vector<int> OrderOf(const OutputPlan& first) {
  std::vector<int> order(first.tensors.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  const auto key = [&](int i) {
    const TensorPlan& tensor = first.tensors[i];
    if (tensor.outputs.empty()) return std::make_tuple(0, int64_t{0}, i);
    const OutputTensor& output = tensor.outputs[0];
    return std::make_tuple(output.file, output.offset, i);
  };
  std::sort(order.begin(), order.end(),
            [&](int a, int b) { return key(a) < key(b); });
  return order;
}

void Reorder(const std::vector<int>& order, OutputPlan& plan) {
  std::vector<TensorPlan> tensors;
  for (int i : order) tensors.push_back(std::move(plan.tensors[i]));
  plan.tensors = std::move(tensors);
}

std::string Fingerprint(const ModelReader& model, const Plan& plan) {
  std::string text = absl::StrCat("quantd ", kVersion, "\n");
  for (const WeightFile& file : model.files()) {
    absl::StrAppend(&text, file.name, " ", file.header_digest, " ",
                    file.identity.size_bytes, " ", file.identity.mtime_ns,
                    "\n");
  }
  absl::StrAppend(&text, Xxh3Hex(model.config_json()), "\n");
  for (const OutputPlan& output : plan.outputs) {
    absl::StrAppend(&text, output.request.name, " ", output.request.recipe_json,
                    " ", output.total_bytes, "\n");
    if (output.request.importance != nullptr) {
      absl::StrAppend(&text, output.request.importance->sha256, "\n");
    }
    if (RunsText(output)) {
      absl::StrAppend(&text, output.request.calibration->data.digest, " ",
                      GemmIsa(), "\n");
    }
    if (output.request.statistics != nullptr) {
      absl::StrAppend(&text, output.request.statistics->sha256(), "\n");
    }
    if (output.request.target || !output.request.assigned.empty()) {
      for (const TensorPlan& tensor : output.tensors) {
        absl::StrAppend(&text, tensor.scheme.name, "\n");
      }
    }
    for (const SideFile& file : output.layout.side_files) {
      absl::StrAppend(&text, file.name, " ", file.size_bytes, "\n");
    }
  }
  return Xxh3Hex(text);
}

// Bounds that hold for whatever steps make of the plan.
absl::Status CoverEscalation(const ModelReader& source,
                             const PlanRequest& request, Plan& plan) {
  QUANT_ASSIGN_OR_RETURN(const std::vector<PlanRequest> tops,
                         TopRequests(source, request, plan));
  for (const PlanRequest& top : tops) {
    QUANT_ASSIGN_OR_RETURN(const Plan most, MakePlan(source, top));
    plan.memory_bound_bytes =
        std::max(plan.memory_bound_bytes, most.memory_bound_bytes);
    plan.disk_bound_bytes =
        std::max(plan.disk_bound_bytes, most.disk_bound_bytes);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Plan> MakePlan(const ModelReader& source,
                              const PlanRequest& request) {
  QUANT_RETURN_IF_ERROR(CheckRequest(request));
  QUANT_ASSIGN_OR_RETURN(const ModelConfig config,
                         ParseModelConfig(source.config_json()));
  QUANT_RETURN_IF_ERROR(CheckNotQuantized(source, config, request));
  Plan plan;
  QUANT_ASSIGN_OR_RETURN(ModelView view, MakeView(source, request));
  plan.view = std::move(view.model);
  plan.dropped = std::move(view.dropped);
  plan.codes = view.codes;
  const ModelReader& model = ViewedModel(source, plan);
  plan.notes.assign(model.notes().begin(), model.notes().end());
  std::vector<TensorRole> roles;
  for (const TensorEntry& tensor : model.tensors()) {
    roles.push_back(RoleOf(tensor));
  }
  for (size_t i = 0; i < request.outputs.size(); ++i) {
    absl::StatusOr<OutputPlan> output =
        OutputPlanner(model, plan.codes, roles, request)
            .Run(request.outputs[i]);
    if (!output.ok()) {
      return Annotate(output.status(), "",
                      absl::StrCat("outputs[", i, "].recipe."));
    }
    plan.outputs.push_back(*std::move(output));
  }
  plan.order = OrderOf(plan.outputs[0]);
  for (OutputPlan& output : plan.outputs) Reorder(plan.order, output);
  plan.evaluation = request.evaluation;
  plan.gates = request.gates;
  QUANT_RETURN_IF_ERROR(AddBounds(source, request.threads, plan));
  plan.fingerprint = Fingerprint(model, plan);
  if (request.escalate) {
    QUANT_RETURN_IF_ERROR(CoverEscalation(source, request, plan));
  }
  return plan;
}

}  // namespace quant

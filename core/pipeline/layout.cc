#include "core/pipeline/layout.h"

#include <algorithm>

#include "core/base/version.h"
#include "core/calibrate/statistics_files.h"

namespace quant {
namespace {

ManifestSource SourceOf(const DatasetFile& file, const char* use) {
  return {.name = file.name,
          .size_bytes = file.size_bytes,
          .header_digest = "",
          .sha256 = file.sha256,
          .dataset = {.use = use,
                      .sequences = file.data.sequences,
                      .sequence_length = file.data.sequence_length,
                      .sha256 = file.data.digest}};
}

ManifestGate ToManifest(const GateVerdict& verdict) {
  return {.gate = GateText(verdict.gate),
          .value = verdict.value,
          .passed = verdict.passed};
}

// No number takes more characters.
constexpr double kLongest = -2.2250738585072014e-308;

// What went into an artifact besides the model.
void AddSourcesBeside(const OutputRequest& request,
                      std::vector<ManifestSource>& sources) {
  if (request.importance != nullptr) {
    sources.push_back({.name = request.importance->file_name,
                       .size_bytes = request.importance->size_bytes,
                       .header_digest = "",
                       .sha256 = request.importance->sha256});
  }
  if (request.calibration != nullptr) {
    sources.push_back(SourceOf(*request.calibration, "calibration"));
  }
  if (request.statistics != nullptr) {
    sources.push_back({.name = kStatisticsName,
                       .size_bytes = request.statistics->size_bytes(),
                       .header_digest = "",
                       .sha256 = request.statistics->sha256()});
  }
}

}  // namespace

const std::vector<std::string>& EvaluationMetrics() {
  static const auto* names =
      new std::vector<std::string>{"perplexity",       "reference_perplexity",
                                   "perplexity_ratio", "perplexity_delta",
                                   "kl_mean",          "kl_p99",
                                   "top1_agreement"};
  return *names;
}

void SetFindings(const std::map<std::string, double>& metrics,
                 const std::vector<GateVerdict>& verdicts, Manifest& manifest) {
  for (ManifestFigure& figure : manifest.evaluation) {
    figure.value = metrics.at(figure.name);
  }
  manifest.gates.clear();
  for (const GateVerdict& verdict : verdicts) {
    manifest.gates.push_back(ToManifest(verdict));
  }
}

Manifest PlannedManifest(const ModelReader& model, const OutputPlan& plan,
                         const EvaluationText* evaluation,
                         const std::vector<Gate>& gates) {
  const std::string unknown(64, '0');
  Manifest manifest{.engine_version = kVersion,
                    .recipe_json = plan.request.recipe_json,
                    .sources = {},
                    .files = {}};
  for (const WeightFile& file : model.files()) {
    manifest.sources.push_back(
        {.name = file.name,
         .size_bytes = file.identity.size_bytes,
         .header_digest = file.header_digest,
         .sha256 = plan.request.source_digest ? unknown : ""});
  }
  AddSourcesBeside(plan.request, manifest.sources);
  if (evaluation != nullptr) {
    manifest.sources.push_back(SourceOf(evaluation->text, "evaluation"));
    for (const std::string& name : EvaluationMetrics()) {
      manifest.evaluation.push_back({.name = name, .value = kLongest});
    }
  }
  for (const EscalationStep& step : plan.request.steps) {
    ManifestStep& out = manifest.escalation.emplace_back();
    for (const GateVerdict& verdict : step.verdicts) {
      out.gates.push_back(ToManifest(verdict));
    }
    for (const RaisedTensor& tensor : step.tensors) {
      out.raised.push_back(
          {.tensor = tensor.name, .from = tensor.from, .to = tensor.to});
    }
  }
  for (const Gate& gate : gates) {
    if (!AppliesTo(gate, plan.request.name)) continue;
    manifest.gates.push_back(
        {.gate = GateText(gate), .value = kLongest, .passed = false});
  }
  const auto add = [&](const std::string& path, int64_t size) {
    manifest.files.push_back(
        {.path = path, .size_bytes = size, .sha256 = unknown});
  };
  for (const LayoutFile& file : plan.layout.files) {
    add(file.path, file.file_size);
  }
  for (const TextFile& file : plan.layout.texts) {
    add(file.path, static_cast<int64_t>(file.text.size()));
  }
  for (const SideFile& file : plan.layout.side_files) {
    add(file.name, file.size_bytes);
  }
  for (const PlannedFile& file : plan.reports) add(file.path, file.size_bytes);
  std::sort(manifest.files.begin(), manifest.files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  return manifest;
}

}  // namespace quant

#include "core/pipeline/layout.h"

#include <algorithm>

#include "core/base/version.h"

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

}  // namespace

Manifest PlannedManifest(const ModelReader& model, const OutputPlan& plan) {
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
  if (plan.request.importance != nullptr) {
    const Importance& importance = *plan.request.importance;
    manifest.sources.push_back({.name = importance.file_name,
                                .size_bytes = importance.size_bytes,
                                .header_digest = "",
                                .sha256 = importance.sha256});
  }
  if (plan.request.calibration != nullptr) {
    manifest.sources.push_back(
        SourceOf(*plan.request.calibration, "calibration"));
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
  std::sort(manifest.files.begin(), manifest.files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  return manifest;
}

}  // namespace quant

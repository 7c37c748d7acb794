// describe.h: what this engine can do.
#include "core/artifact/format.h"
#include "core/artifact/loader.h"
#include "core/base/limits.h"
#include "core/base/version.h"
#include "core/kernels/targets.h"
#include "core/method/method.h"
#include "core/recipe/describe.h"
#include "core/recipe/recipe.h"

namespace quant {
namespace {

constexpr int64_t kReadChunkBytes = 1 << 20;

void AddSchemes(v1::Capabilities& out) {
  for (const Preset& preset : Presets()) {
    v1::SchemeInfo& info = *out.add_schemes();
    const Scheme& scheme = preset.scheme;
    info.set_name(scheme.name);
    info.set_description(std::string(preset.description));
    info.set_bits(scheme.bits);
    info.set_type(scheme.type == NumberType::kInt ? "int" : "float");
    info.set_symmetric(scheme.symmetric);
    info.set_granularity(std::string(GranularityName(scheme.granularity)));
    info.set_group_size(scheme.group_size);
    info.set_unavailable(std::string(preset.unavailable));
    for (const FormatInfo& format : Formats()) {
      const auto found = FindFormat(format.name);
      if (preset.unavailable.empty() && found.ok() &&
          (*found)->CheckScheme(scheme).ok()) {
        info.add_formats(std::string(format.name));
      }
    }
  }
}

void AddLoaders(v1::Capabilities& out) {
  const std::vector<LoaderRule> rules = LoaderRules();
  for (const LoaderInfo& loader : Loaders()) {
    v1::Loader& info = *out.add_loaders();
    info.set_name(std::string(loader.name));
    info.set_title(std::string(loader.title));
    info.set_state(std::string(loader.state));
    info.set_knows_ranks(loader.knows_ranks);
    info.set_source(std::string(loader.source));
    for (const LoaderRule& rule : rules) {
      if (rule.loader != loader.name) continue;
      v1::LoaderRule& item = *info.add_rules();
      item.set_format(std::string(rule.format));
      item.set_what(rule.what);
      item.set_verdict(std::string(VerdictName(rule.verdict)));
      item.set_note(std::string(rule.note));
      item.set_source(std::string(rule.source));
    }
  }
}

}  // namespace

v1::Capabilities DescribeCapabilities() {
  v1::Capabilities out;
  out.set_version(kVersion);
  AddSchemes(out);
  for (const MethodInfo& method : Methods()) {
    v1::MethodInfo& info = *out.add_methods();
    info.set_name(std::string(method.name));
    info.set_description(std::string(method.description));
    const auto found = FindMethod(method.name);
    info.set_needs_calibration(found.ok() &&
                               (*found)->Needs() != Statistics::kNone);
  }
  for (const FormatInfo& format : Formats()) {
    v1::FormatInfo& info = *out.add_formats();
    info.set_name(std::string(format.name));
    info.set_description(std::string(format.description));
  }
  AddLoaders(out);
  for (const std::string& metric : GateMetrics()) out.add_gate_metrics(metric);
  for (const std::string& target : KernelTargets()) out.add_cpu_targets(target);
  v1::Limits& limits = *out.mutable_limits();
  limits.set_max_outputs(kMaxOutputsPerJob);
  limits.set_max_gates(kMaxGatesPerJob);
  limits.set_max_rules(kMaxRulesPerRecipe);
  limits.set_max_tensor_values(kMaxInlineTensorValues);
  limits.set_max_upload_files(kMaxUploadFiles);
  limits.set_max_read_chunk_bytes(kReadChunkBytes);
  return out;
}

}  // namespace quant

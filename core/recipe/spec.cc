// recipe.h: checking and completing the outputs of a spec.
#include <google/protobuf/util/json_util.h>

#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"
#include "core/recipe/recipe.h"
#include "core/recipe/schedule.h"
#include "core/recipe/scheme_proto.h"

namespace quant {
namespace {

constexpr size_t kMaxOutputNameBytes = 63;
constexpr int64_t kDefaultShardBytes = 5'000'000'000;
constexpr double kMaxBitsPerWeight = 64;
// The paper's.
constexpr double kDefaultDamping = 0.01;
constexpr double kDefaultSmoothing = 0.5;

absl::Status CheckOutputName(const std::string& name) {
  bool good = !name.empty() && name.size() <= kMaxOutputNameBytes &&
              absl::ascii_isalnum(name[0]);
  for (char c : name) {
    good &= absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
  }
  if (good) return absl::OkStatus();
  return InvalidSpec(
      absl::StrCat("output name \"", absl::CHexEscape(name.substr(0, 100)),
                   "\"; 1 to ", kMaxOutputNameBytes,
                   " letters, digits, '.', '_' and '-' are allowed, the first "
                   "a letter or digit"),
      "name");
}

absl::StatusOr<std::vector<TensorRule>> ToRules(const v1::Recipe& recipe) {
  if (recipe.rules_size() > kMaxRulesPerRecipe) {
    return InvalidSpec(absl::StrCat(recipe.rules_size(), " rules; at most ",
                                    kMaxRulesPerRecipe, " are allowed"),
                       "rules");
  }
  std::vector<TensorRule> rules;
  for (int i = 0; i < recipe.rules_size(); ++i) {
    const v1::Rule& rule = recipe.rules(i);
    const std::string field = absl::StrCat("rules[", i, "]");
    const int64_t length = static_cast<int64_t>(rule.match().size());
    if (length == 0 || length > kMaxRuleMatchBytes) {
      return InvalidSpec(absl::StrCat("a match of ", length, " bytes; 1 to ",
                                      kMaxRuleMatchBytes, " are allowed"),
                         field + ".match");
    }
    TensorRule& out = rules.emplace_back();
    out.match = rule.match();
    if (rule.has_scheme()) {
      auto scheme = FindScheme(rule.scheme());
      if (!scheme.ok()) {
        return MakeError(scheme.status().code(), GetReason(scheme.status()),
                         std::string(scheme.status().message()),
                         field + ".scheme");
      }
      out.scheme = *std::move(scheme);
    } else if (!rule.skip()) {
      return InvalidSpec("a rule needs a scheme, or skip: true", field);
    }
  }
  return rules;
}

absl::StatusOr<OnMismatch> ToOnMismatch(v1::OnMismatch value) {
  switch (value) {
    case v1::ON_MISMATCH_UNSPECIFIED:
    case v1::ON_MISMATCH_FAIL:
      return OnMismatch::kFail;
    case v1::ON_MISMATCH_CHANNEL:
      return OnMismatch::kChannel;
    case v1::ON_MISMATCH_SKIP:
      return OnMismatch::kSkip;
    default:
      return InvalidSpec(absl::StrCat("unknown value ", value), "on_mismatch");
  }
}

absl::Status SetTarget(const v1::Recipe& recipe, OutputRequest& request) {
  switch (recipe.target_case()) {
    case v1::Recipe::kTargetBytes:
      if (recipe.target_bytes() < 1) {
        return InvalidSpec(absl::StrCat("a target of ", recipe.target_bytes(),
                                        " bytes; 1 or more are allowed"),
                           "recipe.target_bytes");
      }
      request.target = {.bytes = recipe.target_bytes()};
      return absl::OkStatus();
    case v1::Recipe::kTargetBitsPerWeight: {
      const double bits = recipe.target_bits_per_weight();
      if (!(bits > 0 && bits <= kMaxBitsPerWeight)) {
        return InvalidSpec(absl::StrCat("a target of ", bits,
                                        " bits per weight; more than 0 "
                                        "and at most ",
                                        kMaxBitsPerWeight, " are allowed"),
                           "recipe.target_bits_per_weight");
      }
      request.target = {.bits_per_weight = bits};
      return absl::OkStatus();
    }
    case v1::Recipe::TARGET_NOT_SET:
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

// Names are checked here, what they mean for schemes when a plan is made.
absl::Status SetLoader(const v1::Recipe& recipe, OutputRequest& request) {
  request.loader = {
      .name = recipe.loader(),
      .ranks = recipe.tensor_parallel() == 0 ? 1 : recipe.tensor_parallel()};
  return Annotate(LoaderCheck::Make(request.loader, request.format).status(),
                  "", "recipe.");
}

// What may be set where codes are kept, and its defaults.
absl::Status FillKeepCodes(v1::Output& output) {
  v1::Recipe& recipe = *output.mutable_recipe();
  for (const char* name :
       {"scheme", "method", "group_size", "whole", "symmetric", "scale",
        "rules", "on_mismatch", "search", "allow_requantize", "target_bytes",
        "target_bits_per_weight", "loader", "tensor_parallel"}) {
    const auto* field = recipe.GetDescriptor()->FindFieldByName(name);
    const bool set = field->is_repeated()
                         ? recipe.GetReflection()->FieldSize(recipe, field) > 0
                         : recipe.GetReflection()->HasField(recipe, field);
    if (!set) continue;
    return InvalidSpec(
        absl::StrCat(name,
                     " can't be chosen with keep_codes, which carries codes "
                     "over as they are; leave one of them out"),
        name);
  }
  if (recipe.format().empty()) {
    return InvalidSpec("keep_codes needs a format, e.g. \"awq\"", "format");
  }
  recipe.clear_calibrated();
  if (output.name().empty()) output.set_name(recipe.format());
  return absl::OkStatus();
}

// Only where the method looks at it: other recipes stay what they were.
absl::Status FillCalibrated(v1::Recipe& recipe) {
  const auto method = FindMethod(recipe.method());
  if (!method.ok()) return absl::OkStatus();  // said where it is looked up
  v1::CalibratedOptions& calibrated = *recipe.mutable_calibrated();
  if ((*method)->Needs() == Statistics::kNone) {
    recipe.clear_calibrated();
    return absl::OkStatus();
  }
  const auto* fields = calibrated.GetDescriptor();
  for (int i = 0; i < fields->field_count(); ++i) {
    const auto* field = fields->field(i);
    if (!calibrated.GetReflection()->HasField(calibrated, field)) continue;
    QUANT_RETURN_IF_ERROR(CheckTakesOption(recipe.method(), field->name()));
  }
  for (absl::string_view option : (*method)->Options()) {
    if (option == "damping" && calibrated.damping() == 0) {
      calibrated.set_damping(kDefaultDamping);
    }
    if (option == "smoothing" && calibrated.smoothing() == 0) {
      calibrated.set_smoothing(kDefaultSmoothing);
    }
  }
  if (!calibrated.static_groups() || calibrated.act_order()) {
    return absl::OkStatus();
  }
  return InvalidSpec(
      "static_groups without act_order: groups then are what they are",
      "calibrated.static_groups");
}

absl::Status FillScheme(v1::Output& output) {
  v1::Recipe& recipe = *output.mutable_recipe();
  QUANT_ASSIGN_OR_RETURN(const Scheme scheme, SchemeOf(recipe));
  if (output.name().empty()) output.set_name(recipe.scheme());
  if (recipe.method().empty()) recipe.set_method("rtn");
  if (recipe.format().empty()) {
    recipe.set_format(scheme.has_inner_scales() ? "gguf"
                      : scheme.is_cast()        ? "safetensors"
                                                : "compressed-tensors");
  }
  if (recipe.scale().empty()) recipe.set_scale("minmax");
  if (recipe.search().empty()) recipe.set_search("default");
  QUANT_RETURN_IF_ERROR(FillCalibrated(recipe));
  if (recipe.on_mismatch() == v1::ON_MISMATCH_UNSPECIFIED) {
    recipe.set_on_mismatch(v1::ON_MISMATCH_FAIL);
  }
  return absl::OkStatus();
}

absl::Status FillDefaults(v1::Output& output) {
  v1::Recipe& recipe = *output.mutable_recipe();
  QUANT_RETURN_IF_ERROR(recipe.keep_codes() ? FillKeepCodes(output)
                                            : FillScheme(output));
  if (recipe.nonfinite() == v1::NONFINITE_UNSPECIFIED) {
    recipe.set_nonfinite(v1::NONFINITE_ERROR);
  }
  if (recipe.max_shard_bytes() == 0) {
    recipe.set_max_shard_bytes(kDefaultShardBytes);
  }
  return absl::OkStatus();
}

absl::Status InRecipe(const absl::Status& status) {
  return Annotate(status, "", "recipe.");
}

// What the numbers are to be, and how they are chosen.
absl::Status SetScheme(const v1::Recipe& recipe, OutputRequest& request) {
  if (auto scheme = SchemeOf(recipe); scheme.ok()) {
    request.scheme = *std::move(scheme);
  } else {
    return InRecipe(scheme.status());
  }
  request.method = recipe.method();
  if (auto found = FindMethod(request.method); !found.ok()) {
    return MakeError(found.status().code(), GetReason(found.status()),
                     std::string(found.status().message()), "recipe.method");
  }
  auto scale = ScaleRuleOf(recipe);
  if (!scale.ok()) return InRecipe(scale.status());
  request.scale = *scale;
  auto search = SearchLevelOf(recipe);
  if (!search.ok()) return InRecipe(search.status());
  request.search = *search;
  request.allow_requantize = recipe.allow_requantize();
  const v1::CalibratedOptions& calibrated = recipe.calibrated();
  request.calibrated = {.act_order = calibrated.act_order(),
                        .static_groups = calibrated.static_groups(),
                        .damping = calibrated.damping(),
                        .smoothing = calibrated.smoothing()};
  request.true_sequential = calibrated.true_sequential();
  auto rules = ToRules(recipe);
  if (!rules.ok()) return InRecipe(rules.status());
  request.rules = *std::move(rules);
  auto on_mismatch = ToOnMismatch(recipe.on_mismatch());
  if (!on_mismatch.ok()) return InRecipe(on_mismatch.status());
  request.on_mismatch = *on_mismatch;
  return SetTarget(recipe, request);
}

absl::StatusOr<OutputRequest> ToOutputRequest(const v1::Output& output) {
  const v1::Recipe& recipe = output.recipe();
  OutputRequest request;
  request.name = output.name();
  QUANT_RETURN_IF_ERROR(CheckOutputName(request.name));
  request.format = recipe.format();
  if (auto found = FindFormat(request.format); !found.ok()) {
    return MakeError(found.status().code(), GetReason(found.status()),
                     std::string(found.status().message()), "recipe.format");
  }
  QUANT_RETURN_IF_ERROR(SetLoader(recipe, request));
  request.keep_codes = recipe.keep_codes();
  if (!request.keep_codes) QUANT_RETURN_IF_ERROR(SetScheme(recipe, request));
  auto nonfinite = NonfiniteOf(recipe);
  if (!nonfinite.ok()) return InRecipe(nonfinite.status());
  request.nonfinite = *nonfinite;
  if (recipe.max_shard_bytes() < 0) {
    return InvalidSpec(
        absl::StrCat("max_shard_bytes ", recipe.max_shard_bytes(),
                     "; 1 or more, or 0 for the default"),
        "recipe.max_shard_bytes");
  }
  request.max_shard_bytes = recipe.max_shard_bytes();
  request.source_digest = recipe.source_digest();
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  (void)google::protobuf::util::MessageToJsonString(
      recipe, &request.recipe_json, options);
  return request;
}

// Calibration or Evaluation.
template <typename Text>
absl::Status CheckText(const Text& text, const std::string& use) {
  if (text.sequences() < 0 || text.sequence_length() < 0) {
    return InvalidSpec(absl::StrCat(use, ": ", text.sequences(),
                                    " sequences of ", text.sequence_length(),
                                    "; 1 or more, or 0 for the default"),
                       use);
  }
  if (!v1::Bos_IsValid(text.bos())) {
    return InvalidSpec(absl::StrCat("unknown value ", text.bos()),
                       use + ".bos");
  }
  return absl::OkStatus();
}

BosPolicy BosPolicyOf(v1::Bos bos) {
  switch (bos) {
    case v1::BOS_SEQUENCE:
      return BosPolicy::kSequence;
    case v1::BOS_NONE:
      return BosPolicy::kNone;
    default:
      return BosPolicy::kDocument;
  }
}

template <typename Text>
TextSource TextSourceOf(const Text& text, const std::string& path) {
  return {.path = path,
          .sequence_length = text.sequence_length(),
          .max_sequences = text.sequences(),
          .bos = BosPolicyOf(text.bos())};
}

}  // namespace

absl::StatusOr<v1::JobSpec> CanonicalSpec(const v1::JobSpec& spec) {
  if (spec.outputs_size() < 1 || spec.outputs_size() > kMaxOutputsPerJob) {
    return InvalidSpec(absl::StrCat(spec.outputs_size(), " outputs; 1 to ",
                                    kMaxOutputsPerJob, " are allowed"),
                       "outputs");
  }
  v1::JobSpec canonical = spec;
  std::set<std::string> names;
  for (int i = 0; i < canonical.outputs_size(); ++i) {
    v1::Output& output = *canonical.mutable_outputs(i);
    const std::string field = absl::StrCat("outputs[", i, "].");
    if (absl::Status status = FillDefaults(output); !status.ok()) {
      return Annotate(status, "", field + "recipe.");
    }
    if (!names.insert(output.name()).second) {
      return InvalidSpec(absl::StrCat("two outputs are named \"", output.name(),
                                      "\"; names are unique"),
                         field + "name");
    }
  }
  if (canonical.has_calibration() &&
      canonical.calibration().bos() == v1::BOS_UNSPECIFIED) {
    canonical.mutable_calibration()->set_bos(v1::BOS_DOCUMENT);
  }
  if (canonical.has_evaluation() &&
      canonical.evaluation().bos() == v1::BOS_UNSPECIFIED) {
    canonical.mutable_evaluation()->set_bos(v1::BOS_DOCUMENT);
  }
  if (canonical.on_gate_failure() == v1::JobSpec::ON_GATE_FAILURE_UNSPECIFIED) {
    canonical.set_on_gate_failure(v1::JobSpec::FAIL);
  }
  QUANT_RETURN_IF_ERROR(CheckGates(canonical));
  QUANT_RETURN_IF_ERROR(CheckSchedule(canonical));
  // The default is left out: specs of clients that don't know it stay the same.
  if (canonical.priority() == v1::JobSpec::NORMAL) canonical.clear_priority();
  return canonical;
}

TextSource CalibrationOf(const v1::JobSpec& spec, const std::string& path) {
  return TextSourceOf(spec.calibration(), path);
}

TextSource EvaluationOf(const v1::JobSpec& spec, const std::string& path) {
  return TextSourceOf(spec.evaluation(), path);
}

absl::StatusOr<PlanRequest> ToPlanRequest(const v1::JobSpec& spec,
                                          int threads) {
  QUANT_ASSIGN_OR_RETURN(const v1::JobSpec canonical, CanonicalSpec(spec));
  QUANT_RETURN_IF_ERROR(CheckText(spec.calibration(), "calibration"));
  QUANT_RETURN_IF_ERROR(CheckText(spec.evaluation(), "evaluation"));
  PlanRequest request;
  request.threads = threads;
  request.escalate = spec.on_gate_failure() == v1::JobSpec::ESCALATE;
  request.report = spec.report() || spec.has_evaluation();
  for (const v1::Gate& gate : canonical.gates()) {
    request.gates.push_back(GateOf(gate));
  }
  for (int i = 0; i < canonical.outputs_size(); ++i) {
    auto output = ToOutputRequest(canonical.outputs(i));
    if (!output.ok()) {
      return Annotate(output.status(), "", absl::StrCat("outputs[", i, "]."));
    }
    request.outputs.push_back(*std::move(output));
  }
  return request;
}

}  // namespace quant

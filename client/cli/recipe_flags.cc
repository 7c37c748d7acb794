#include "client/cli/recipe_flags.h"

#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/cli/choice.h"
#include "client/cli/source.h"
#include "core/base/bytes.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/recipe/recipe.h"

namespace quant::cli {
namespace {

constexpr int64_t kMaxRecipeBytes = 1 << 20;

template <typename Enum>
void AddChoice(CLI::App& app, const std::string& flag,
               std::optional<Enum>& value,
               const std::map<std::string, Enum>& choices,
               const std::string& help) {
  app.add_option_function<Enum>(
         flag, [&value](const Enum& chosen) { value = chosen; }, help)
      ->transform(ValueOf(choices).description("CHOICE"));
}

// Of a text that a recipe file names, where no flag gave them.
void TakeLengths(const v1::RecipeFile::Text& text, int64_t& sequences,
                 int64_t& length) {
  if (sequences == 0) sequences = text.sequences();
  if (length == 0) length = text.sequence_length();
}

}  // namespace

void RecipeFlags::Add(CLI::App& app) {
  // One value per flag, so that a positional argument may follow.
  auto repeatable = [&app](const char* flag, std::vector<std::string>& values,
                           const char* help) {
    return app.add_option(flag, values, help)
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  };
  app.add_option("--recipe", recipe_file_,
                 "YAML or JSON file that says it all; flags override it");
  repeatable("--scheme", schemes_,
             "Which numbers come out, e.g. W4A16; repeat for several outputs "
             "from one read (see: quantctl methods)");
  app.add_option("--method", method_, "How codes are chosen [rtn]");
  app.add_option(
      "--format", format_,
      "How they lie on disk [compressed-tensors; gguf for its types]");
  app.add_option("--loader", loader_,
                 "Who will load it, e.g. vllm: what that is not known to take "
                 "is refused, with the nearest (see: quantctl loaders)");
  app.add_option("--tensor-parallel", tensor_parallel_,
                 "Ranks that will share the model; with --loader [1]")
      ->check(CLI::PositiveNumber);
  app.add_option("--group-size", group_size_,
                 "Elements that share a scale: N, channel or tensor");
  auto* symmetric = app.add_flag("--symmetric", symmetric_,
                                 "No zero points [what the scheme says]");
  app.add_flag("--asymmetric", asymmetric_, "With zero points")
      ->excludes(symmetric);
  app.add_option("--scale", scale_, "minmax or mse [minmax]");
  app.add_option("--search", search_,
                 "How long to search for scales of GGUF types: default or fast "
                 "[default]");
  AddCalibrationFlags(app);
  AddEvaluationFlags(app);
  app.add_option("--imatrix", files_.imatrix,
                 "How much inputs matter, for GGUF types: an importance matrix "
                 "of llama.cpp (submit: a local file, or server:PATH)");
  app.add_flag("--allow-requantize", allow_requantize_,
               "Take a source that is quantized already");
  app.add_flag("--keep-codes", keep_codes_,
               "Carry the codes of a quantized source over to --format, as "
               "convert does; instead of --scheme");
  repeatable("--rule", rules_,
             "MATCH=SCHEME or MATCH=skip; MATCH is a name, re:PATTERN or a "
             "class such as Linear; the first that matches wins");
  AddChoice<v1::OnMismatch>(app, "--on-mismatch", on_mismatch_,
                            {{"fail", v1::ON_MISMATCH_FAIL},
                             {"channel", v1::ON_MISMATCH_CHANNEL},
                             {"skip", v1::ON_MISMATCH_SKIP}},
                            "What to do with shapes that don't fit: fail, "
                            "channel or skip [fail]");
  auto* target_size = app.add_option(
      "--target-size", target_size_,
      "Largest size of the result, e.g. 4.6GB: gives every weight a scheme of "
      "--scheme's family (W2A16 to W8A16, GGUF's types), with the least error");
  app.add_option("--target-bpw", target_bpw_,
                 "The same in bits per weight, e.g. 4.25")
      ->check(CLI::PositiveNumber)
      ->excludes(target_size);
  app.add_option("--max-shard-size", max_shard_size_,
                 "Largest weight file, e.g. 2GB [5GB]");
  AddChoice<v1::Nonfinite>(
      app, "--nonfinite", nonfinite_,
      {{"error", v1::NONFINITE_ERROR}, {"zero", v1::NONFINITE_ZERO}},
      "What to do with NaN and Inf in the source: error or zero [error]");
  app.add_flag("--source-digest", source_digest_,
               "Record the SHA-256 of the source's files in the manifest");
}

void RecipeFlags::AddCalibrationFlags(CLI::App& app) {
  app.add_option(
      "--calibration", files_.calibration,
      "Text for methods that look at one (gptq, awq, ...), for static "
      "activations (FP8) and to weigh the errors of GGUF types: "
      "UTF-8, .jsonl with \"text\" or \"messages\", or token ids of "
      "this model in .npy "
      "or .safetensors; or the directory of calibrate --statistics, which "
      "has seen such a text (submit: local, or server:PATH)");
  bos_.Add(app);
  app.add_option("--calibration-sequences", calibration_sequences_,
                 "How many sequences of it, from the first on [all]")
      ->check(CLI::PositiveNumber);
  app.add_option("--sequence-length", sequence_length_,
                 "Tokens of each [the model's context, at most 2048]")
      ->check(CLI::PositiveNumber);
  app.add_flag("--act-order", act_order_,
               "gptq: columns by falling importance; loaders then need g_idx");
  app.add_flag(
      "--static-groups", static_groups_,
      "gptq: with --act-order, groups of neighbouring columns, so that "
      "loaders need no g_idx");
  app.add_flag("--true-sequential", true_sequential_,
               "gptq: weights of a block in the order of their use, each after "
               "the ones before it; slower");
  app.add_option("--damping", damping_,
                 "gptq: added to the Hessian's diagonal, in parts of its mean "
                 "[0.01]")
      ->check(CLI::PositiveNumber);
  app.add_option("--smoothing", smoothing_,
                 "smoothquant: how far the range of inputs moves to weights, "
                 "up to 1 [0.5]")
      ->check(CLI::PositiveNumber);
}

void RecipeFlags::AddEvaluationFlags(CLI::App& app) {
  app.add_option("--evaluate,--evaluation", files_.evaluation,
                 "Compare the result with the source on this text, as --"
                 "calibration takes it: perplexity, KL divergence, and gates "
                 "on them (submit: a local file, or server:PATH)");
  app.add_option("--gate", gates_,
                 "Condition on the result, e.g. 'min_sqnr_db>=18', or with "
                 "--evaluate 'perplexity_ratio<=1.03'; repeatable")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  AddChoice<v1::JobSpec::OnGateFailure>(
      app, "--on-gate-failure", on_gate_failure_,
      {{"fail", v1::JobSpec::FAIL}, {"escalate", v1::JobSpec::ESCALATE}},
      "What to do when a gate fails: fail, or escalate: the worst weights get "
      "the next scheme up, within --target-size, until the gates pass or "
      "nothing is left [fail]");
  app.add_flag("--report", report_,
               "Put report.json and report.html into the result; always so "
               "with --evaluate");
  app.add_option("--evaluation-sequences", evaluation_sequences_,
                 "How many sequences of it, from the first on [all]")
      ->check(CLI::PositiveNumber);
  app.add_option("--evaluation-length", evaluation_length_,
                 "Tokens of each [the model's context, at most 2048]")
      ->check(CLI::PositiveNumber);
}

absl::StatusOr<v1::JobSpec> RecipeFlags::Build() {
  QUANT_ASSIGN_OR_RETURN(v1::JobSpec spec, FromFile());
  QUANT_RETURN_IF_ERROR(ApplySchemes(spec));
  for (v1::Output& output : *spec.mutable_outputs()) {
    QUANT_RETURN_IF_ERROR(Override(*output.mutable_recipe()));
  }
  for (const std::string& text : gates_) {
    QUANT_ASSIGN_OR_RETURN(*spec.add_gates(), ParseGate(text));
  }
  if (report_) spec.set_report(true);
  if (on_gate_failure_) spec.set_on_gate_failure(*on_gate_failure_);
  QUANT_RETURN_IF_ERROR(SetTexts(spec));
  return spec;
}

absl::Status RecipeFlags::SetTexts(v1::JobSpec& spec) const {
  QUANT_ASSIGN_OR_RETURN(const v1::Bos bos, bos_.Proto());
  if (!files_.calibration.empty()) {
    spec.mutable_calibration()->set_sequences(calibration_sequences_);
    spec.mutable_calibration()->set_sequence_length(sequence_length_);
    spec.mutable_calibration()->set_bos(bos);
  }
  if (!files_.evaluation.empty()) {
    spec.mutable_evaluation()->set_sequences(evaluation_sequences_);
    spec.mutable_evaluation()->set_sequence_length(evaluation_length_);
    spec.mutable_evaluation()->set_bos(bos);
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::JobSpec> RecipeFlags::FromFile() {
  v1::JobSpec spec;
  if (recipe_file_.empty()) return spec;
  QUANT_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(recipe_file_, kMaxRecipeBytes));
  const absl::StatusOr<v1::RecipeFile> file = ParseRecipeFile(text);
  if (!file.ok()) return Annotate(file.status(), recipe_file_);
  if (file->outputs_size() > 0) {
    *spec.mutable_outputs() = file->outputs();
  } else if (file->has_recipe()) {
    *spec.add_outputs()->mutable_recipe() = file->recipe();
  }
  for (const std::string& gate : file->gates()) {
    QUANT_ASSIGN_OR_RETURN(*spec.add_gates(), ParseGate(gate));
  }
  const absl::Status taken = TakeSettings(*file, spec);
  if (!taken.ok()) return Annotate(taken, recipe_file_);
  return spec;
}

// What the recipe file says of the job as a whole, where no flag does.
absl::Status RecipeFlags::TakeSettings(const v1::RecipeFile& file,
                                       v1::JobSpec& spec) {
  const auto take = [&](const std::string& path, std::string& into) {
    if (path.empty() || !into.empty()) return false;
    const bool as_it_is = path[0] == '/' || IsServerPath(path);
    into = as_it_is ? path : JoinPath(ParentPath(recipe_file_), path);
    return true;
  };
  take(file.imatrix(), files_.imatrix);
  if (take(file.calibration().path(), files_.calibration)) {
    TakeLengths(file.calibration(), calibration_sequences_, sequence_length_);
  }
  if (take(file.evaluation().path(), files_.evaluation)) {
    TakeLengths(file.evaluation(), evaluation_sequences_, evaluation_length_);
  }
  spec.set_report(file.report());
  if (file.on_gate_failure() == "escalate") {
    spec.set_on_gate_failure(v1::JobSpec::ESCALATE);
  } else if (!file.on_gate_failure().empty() &&
             file.on_gate_failure() != "fail") {
    return InvalidSpec(absl::StrCat("on_gate_failure: \"",
                                    file.on_gate_failure(),
                                    "\"; allowed are fail and escalate"));
  }
  return absl::OkStatus();
}

absl::Status RecipeFlags::ApplySchemes(v1::JobSpec& spec) const {
  if (schemes_.empty()) {
    if (spec.outputs_size() > 0) return absl::OkStatus();
    if (keep_codes_) {
      spec.add_outputs();
      return absl::OkStatus();
    }
    return InvalidSpec(
        "--scheme: none given; write e.g. --scheme W4A16, or --recipe FILE "
        "(quantctl methods lists all schemes)");
  }
  if (spec.outputs_size() > 1) {
    return InvalidSpec(absl::StrCat("--scheme: ", recipe_file_, " has ",
                                    spec.outputs_size(),
                                    " outputs, each with its scheme"));
  }
  const v1::Output pattern =
      spec.outputs_size() == 1 ? spec.outputs(0) : v1::Output();
  spec.clear_outputs();
  for (const std::string& scheme : schemes_) {
    v1::Output* output = spec.add_outputs();
    *output = pattern;
    if (schemes_.size() > 1) output->clear_name();
    output->mutable_recipe()->set_scheme(scheme);
  }
  return absl::OkStatus();
}

absl::Status RecipeFlags::Override(v1::Recipe& recipe) const {
  if (!method_.empty()) recipe.set_method(method_);
  if (!format_.empty()) recipe.set_format(format_);
  if (!loader_.empty()) recipe.set_loader(loader_);
  if (tensor_parallel_ > 0) recipe.set_tensor_parallel(tensor_parallel_);
  if (!scale_.empty()) recipe.set_scale(scale_);
  if (!search_.empty()) recipe.set_search(search_);
  if (allow_requantize_) recipe.set_allow_requantize(true);
  if (keep_codes_) recipe.set_keep_codes(true);
  if (symmetric_) recipe.set_symmetric(true);
  if (asymmetric_) recipe.set_symmetric(false);
  if (on_mismatch_) recipe.set_on_mismatch(*on_mismatch_);
  if (nonfinite_) recipe.set_nonfinite(*nonfinite_);
  if (source_digest_) recipe.set_source_digest(true);
  if (!max_shard_size_.empty()) {
    const absl::StatusOr<int64_t> bytes = ParseBytes(max_shard_size_);
    if (!bytes.ok()) return Annotate(bytes.status(), "--max-shard-size");
    recipe.set_max_shard_bytes(*bytes);
  }
  SetCalibrated(recipe);
  QUANT_RETURN_IF_ERROR(SetTarget(recipe));
  QUANT_RETURN_IF_ERROR(SetGranularity(recipe));
  return AddRules(recipe);
}

void RecipeFlags::SetCalibrated(v1::Recipe& recipe) const {
  v1::CalibratedOptions& calibrated = *recipe.mutable_calibrated();
  if (act_order_) calibrated.set_act_order(true);
  if (static_groups_) calibrated.set_static_groups(true);
  if (true_sequential_) calibrated.set_true_sequential(true);
  if (damping_ > 0) calibrated.set_damping(damping_);
  if (smoothing_ > 0) calibrated.set_smoothing(smoothing_);
}

absl::Status RecipeFlags::SetTarget(v1::Recipe& recipe) const {
  if (target_bpw_ > 0) recipe.set_target_bits_per_weight(target_bpw_);
  if (target_size_.empty()) return absl::OkStatus();
  const absl::StatusOr<int64_t> bytes = ParseBytes(target_size_);
  if (!bytes.ok()) return Annotate(bytes.status(), "--target-size");
  recipe.set_target_bytes(*bytes);
  return absl::OkStatus();
}

absl::Status RecipeFlags::SetGranularity(v1::Recipe& recipe) const {
  if (group_size_.empty()) return absl::OkStatus();
  int64_t size = 0;
  if (group_size_ == "channel") {
    recipe.set_whole(v1::WHOLE_GRANULARITY_CHANNEL);
  } else if (group_size_ == "tensor") {
    recipe.set_whole(v1::WHOLE_GRANULARITY_TENSOR);
  } else if (absl::SimpleAtoi(group_size_, &size) && size >= 1 &&
             size <= kMaxGroupSize) {
    recipe.set_group_size(size);
  } else {
    return InvalidSpec(absl::StrCat("--group-size: \"", group_size_,
                                    "\"; allowed are 1 to ", kMaxGroupSize,
                                    ", channel and tensor"));
  }
  return absl::OkStatus();
}

absl::Status RecipeFlags::AddRules(v1::Recipe& recipe) const {
  if (!rules_.empty()) recipe.clear_rules();
  for (const std::string& text : rules_) {
    // The last one: patterns may contain '='.
    const size_t equals = text.rfind('=');
    if (equals == std::string::npos || equals == 0 ||
        equals + 1 == text.size()) {
      return InvalidSpec(absl::StrCat("--rule: \"", text,
                                      "\"; write MATCH=SCHEME or MATCH=skip"));
    }
    v1::Rule* rule = recipe.add_rules();
    rule->set_match(text.substr(0, equals));
    const std::string action = text.substr(equals + 1);
    if (action == "skip") {
      rule->set_skip(true);
    } else {
      rule->set_scheme(action);
    }
  }
  return absl::OkStatus();
}

}  // namespace quant::cli

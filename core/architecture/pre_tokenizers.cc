#include "core/architecture/pre_tokenizers.h"

#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/error.h"

namespace quant {
namespace {

using Json = nlohmann::json;

enum class Skips { kYes, kNo, kEither };

struct Row {
  absl::string_view name;
  Skips skips_merges;
  absl::string_view normalizer;
  absl::string_view steps;
};

constexpr Row kRows[] = {
#define GGUF_PRE_TOKENIZER(name, skips, normalizer, steps) \
  {name, Skips::skips, normalizer, steps},
#include "core/architecture/pre_tokenizers.def"
#undef GGUF_PRE_TOKENIZER
};

std::string TypeOf(const Json& step) {
  if (!step.is_object()) return "";
  const auto it = step.find("type");
  return it == step.end() || !it->is_string() ? "" : it->get<std::string>();
}

bool Flag(const Json& step, const char* key, bool absent) {
  const auto it = step.find(key);
  return it == step.end() || !it->is_boolean() ? absent : it->get<bool>();
}

// The steps of a pre-tokenizer or decoder, sequences taken apart.
std::vector<const Json*> StepsOf(const Json& root, const char* list) {
  if (TypeOf(root) != "Sequence") {
    return root.is_null() ? std::vector<const Json*>{}
                          : std::vector<const Json*>{&root};
  }
  std::vector<const Json*> steps;
  const auto inner = root.find(list);
  if (inner == root.end() || !inner->is_array()) return steps;
  for (const Json& step : *inner) steps.push_back(&step);
  return steps;
}

std::string DescribeSplit(const Json& step) {
  std::string pattern;
  if (const auto it = step.find("pattern");
      it != step.end() && it->is_object()) {
    const auto regex = it->find("Regex");
    if (regex != it->end() && regex->is_string()) {
      pattern = regex->get<std::string>();
    }
  }
  const auto behavior = step.find("behavior");
  const bool isolated = behavior != step.end() && *behavior == "Isolated" &&
                        !Flag(step, "invert", false);
  const bool removed = behavior != step.end() && *behavior == "Removed" &&
                       Flag(step, "invert", false);
  // Both leave every match as a piece, and these patterns match everything.
  return pattern.empty() || !(isolated || removed)
             ? "split in another way"
             : absl::StrCat("split ", pattern);
}

std::string Describe(const Json& step) {
  const std::string type = TypeOf(step);
  if (type == "Split") return DescribeSplit(step);
  if (type == "Digits") {
    return Flag(step, "individual_digits", false) ? "digits" : "digit runs";
  }
  if (type == "ByteLevel") {
    return absl::StrCat(Flag(step, "use_regex", true) ? "gpt2 " : "", "bytes",
                        Flag(step, "add_prefix_space", true)
                            ? " with a space before the text"
                            : "");
  }
  return type.empty() ? "unknown" : type;
}

std::string Signature(const TokenizerJson& tokenizer) {
  std::vector<std::string> steps;
  for (const Json* step : StepsOf(tokenizer.pre_tokenizer, "pretokenizers")) {
    steps.push_back(Describe(*step));
  }
  return absl::StrJoin(steps, "; ");
}

// The inverse of Describe.
Json StepOf(absl::string_view text) {
  if (text == "digits") {
    return {{"type", "Digits"}, {"individual_digits", true}};
  }
  if (absl::ConsumePrefix(&text, "split ")) {
    return {{"type", "Split"},
            {"pattern", {{"Regex", std::string(text)}}},
            {"behavior", "Isolated"},
            {"invert", false}};
  }
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", text == "gpt2 bytes"}};
}

}  // namespace

bool IsByteLevel(const TokenizerJson& tokenizer) {
  for (const Json* step : StepsOf(tokenizer.pre_tokenizer, "pretokenizers")) {
    if (TypeOf(*step) == "ByteLevel") return true;
  }
  for (const Json* step : StepsOf(tokenizer.decoder, "decoders")) {
    if (TypeOf(*step) == "ByteLevel") return true;
  }
  return false;
}

std::optional<PreTokenizerParts> PreTokenizerOf(absl::string_view name) {
  for (const Row& row : kRows) {
    if (row.name != name) continue;
    Json steps = Json::array();
    for (absl::string_view step : absl::StrSplit(row.steps, "; ")) {
      steps.push_back(StepOf(step));
    }
    PreTokenizerParts out;
    out.ignore_merges = row.skips_merges == Skips::kYes;
    if (!row.normalizer.empty()) {
      out.normalizer = {{"type", std::string(row.normalizer)}};
    }
    out.steps = steps[0];
    if (steps.size() > 1) {
      out.steps = {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
    }
    return out;
  }
  return std::nullopt;
}

absl::StatusOr<std::string> PreTokenizerName(const TokenizerJson& tokenizer) {
  const std::string signature = Signature(tokenizer);
  const Skips skips = tokenizer.ignore_merges ? Skips::kYes : Skips::kNo;
  std::vector<absl::string_view> names;
  for (const Row& row : kRows) {
    names.push_back(row.name);
    if (row.steps == signature &&
        (row.skips_merges == skips || row.skips_merges == Skips::kEither)) {
      return std::string(row.name);
    }
  }
  return MakeError(
      absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
      absl::StrCat(
          "tokenizer.json: loaders of GGUF files have no name for the "
          "pre-tokenizer \"",
          absl::CHexEscape(signature.substr(0, 400)), "\"",
          tokenizer.ignore_merges ? " with ignore_merges" : "",
          "; known: ", absl::StrJoin(names, ", "),
          "; if it is one of those after all, say so with \"ggml_pre\": "
          "\"<name>\" in tokenizer_config.json"));
}

}  // namespace quant

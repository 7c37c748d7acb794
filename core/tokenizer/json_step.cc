#include "core/tokenizer/json_step.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/error.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"
#include "core/base/text_limits.h"
#include "core/container/json_events.h"

namespace quant {
namespace {

using Json = nlohmann::json;

absl::Status Flatten(absl::string_view kind, const Json& root, const char* list,
                     std::vector<JsonStep>& steps) {
  QUANT_ASSIGN_OR_RETURN(JsonStep step, JsonStep::Of(kind, root));
  if (step.type() != "Sequence") {
    if (static_cast<int64_t>(steps.size()) >= kMaxTokenizerSteps) {
      return ModelMalformed(
          absl::StrCat(kind, ": more than ", kMaxTokenizerSteps, " steps"));
    }
    steps.push_back(std::move(step));
    return absl::OkStatus();
  }
  const auto inner = root.find(list);
  if (inner == root.end() || !inner->is_array()) {
    return step.Malformed(absl::StrCat("has no list \"", list, "\""));
  }
  // The depth of the document is bounded.
  for (const Json& child : *inner) {
    QUANT_RETURN_IF_ERROR(Flatten(kind, child, list, steps));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<JsonStep> JsonStep::Of(absl::string_view kind,
                                      const Json& object) {
  JsonStep step(kind, object);
  if (!object.is_object()) {
    return ModelMalformed(absl::StrCat(kind, ": is no object"));
  }
  QUANT_ASSIGN_OR_RETURN(step.type_, step.Text("type", ""));
  if (step.type_.empty()) return step.Malformed("has no \"type\"");
  return step;
}

absl::StatusOr<bool> JsonStep::Flag(const char* key, bool absent) const {
  const auto it = object_->find(key);
  if (it == object_->end() || it->is_null()) return absent;
  if (!it->is_boolean()) {
    return Malformed(absl::StrCat("\"", key, "\" is not true or false"));
  }
  return it->get<bool>();
}

absl::StatusOr<std::string> JsonStep::Text(const char* key,
                                           absl::string_view absent) const {
  const auto it = object_->find(key);
  if (it == object_->end() || it->is_null()) return std::string(absent);
  if (!it->is_string()) {
    return Malformed(absl::StrCat("\"", key, "\" is no text"));
  }
  return it->get<std::string>();
}

absl::StatusOr<Regex> JsonStep::Pattern(const char* key) const {
  const auto it = object_->find(key);
  if (it != object_->end() && it->is_object() && it->size() == 1 &&
      it->begin()->is_string()) {
    const std::string text = it->begin()->get<std::string>();
    const bool is_regex = it->begin().key() == "Regex";
    if (is_regex || it->begin().key() == "String") {
      auto regex = is_regex ? Regex::Compile(text) : Regex::Literal(text);
      if (regex.ok()) return regex;
      return Annotate(regex.status(), absl::StrCat(kind_, " ", type_));
    }
  }
  return Malformed(absl::StrCat(
      "\"", key, "\" is neither {\"String\": ...} nor {\"Regex\": ...}"));
}

absl::Status JsonStep::Malformed(absl::string_view what) const {
  return ModelMalformed(
      absl::StrCat(kind_, " ", QuotedName(type_), ": ", what));
}

absl::Status JsonStep::Unsupported(absl::string_view what) const {
  return MakeError(absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
                   absl::StrCat(kind_, " ", QuotedName(type_), ": ", what));
}

absl::StatusOr<std::vector<JsonStep>> StepsOf(absl::string_view kind,
                                              const Json& root,
                                              const char* list) {
  std::vector<JsonStep> steps;
  if (root.is_null()) return steps;
  QUANT_RETURN_IF_ERROR(Flatten(kind, root, list, steps));
  return steps;
}

absl::Status UnknownStep(const JsonStep& step, absl::string_view kind,
                         const std::vector<std::string>& known) {
  const std::string nearest = NearestName(step.type(), known);
  return MakeError(
      absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
      absl::StrCat(
          kind, " ", QuotedName(step.type()), " is not supported; ",
          nearest.empty() ? "" : absl::StrCat("nearest: ", nearest, "; "),
          "supported: ", absl::StrJoin(known, ", ")));
}

}  // namespace quant

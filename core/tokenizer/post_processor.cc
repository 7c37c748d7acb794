#include "core/tokenizer/post_processor.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/base/text_limits.h"
#include "core/container/json_events.h"
#include "core/tokenizer/json_step.h"

namespace quant {
namespace {

using Json = nlohmann::json;

absl::StatusOr<int32_t> IdOf(const JsonStep& step, const Json& value) {
  if (value.is_number_integer() && value.get<int64_t>() >= 0 &&
      value.get<int64_t>() < kMaxTokens) {
    return value.get<int32_t>();
  }
  return step.Malformed(absl::StrCat("an id is none below ", kMaxTokens));
}

const Json* Child(const Json& object, const std::string& key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() ? nullptr : &*it;
}

// The ids of {"SpecialToken": {"id": name}}.
absl::Status AddSpecial(const JsonStep& step, const Json& special,
                        std::vector<int32_t>& ids) {
  const Json* name = Child(special, "id");
  const Json* tokens = Child(step.object(), "special_tokens");
  if (name == nullptr || !name->is_string() || tokens == nullptr) {
    return step.Malformed("a special token has no name, or there is no table");
  }
  const Json* entry = Child(*tokens, name->get<std::string>());
  const Json* list = entry == nullptr ? nullptr : Child(*entry, "ids");
  if (list == nullptr || !list->is_array()) {
    return step.Malformed(
        absl::StrCat("special_tokens has no ids for ",
                     QuotedName(name->get_ref<const std::string&>())));
  }
  for (const Json& value : *list) {
    QUANT_ASSIGN_OR_RETURN(const int32_t id, IdOf(step, value));
    ids.push_back(id);
  }
  return absl::OkStatus();
}

absl::StatusOr<Frame> TemplateFrame(const JsonStep& step) {
  const Json* single = Child(step.object(), "single");
  if (single == nullptr || !single->is_array()) {
    return step.Malformed("has no list \"single\"");
  }
  Frame frame;
  int texts = 0;
  for (const Json& item : *single) {
    if (const Json* special = Child(item, "SpecialToken")) {
      QUANT_RETURN_IF_ERROR(
          AddSpecial(step, *special, texts == 0 ? frame.before : frame.after));
    } else if (const Json* sequence = Child(item, "Sequence")) {
      const Json* id = Child(*sequence, "id");
      if (id == nullptr || *id != "A") return step.Malformed("\"single\"");
      ++texts;
    } else {
      return step.Malformed("\"single\" holds neither token nor sequence");
    }
  }
  if (texts != 1) {
    return step.Unsupported(absl::StrCat("\"single\" holds the text ", texts,
                                         " times; once is supported"));
  }
  return frame;
}

// {"cls": [text, id], "sep": [text, id]}.
absl::StatusOr<Frame> PairFrame(const JsonStep& step) {
  Frame frame;
  for (const char* key : {"cls", "sep"}) {
    const Json* pair = Child(step.object(), key);
    if (pair == nullptr || !pair->is_array() || pair->size() != 2) {
      return step.Malformed(absl::StrCat("\"", key, "\" is no [text, id]"));
    }
    QUANT_ASSIGN_OR_RETURN(const int32_t id, IdOf(step, (*pair)[1]));
    (key == absl::string_view("cls") ? frame.before : frame.after)
        .push_back(id);
  }
  return frame;
}

absl::StatusOr<Frame> FrameOf(const JsonStep& step) {
  if (step.type() == "ByteLevel") return Frame();
  if (step.type() == "TemplateProcessing") return TemplateFrame(step);
  if (step.type() == "BertProcessing" || step.type() == "RobertaProcessing") {
    return PairFrame(step);
  }
  return UnknownStep(step, "post-processor",
                     {"Sequence", "TemplateProcessing", "ByteLevel",
                      "BertProcessing", "RobertaProcessing"});
}

}  // namespace

absl::StatusOr<Frame> ParsePostProcessor(const Json& root) {
  QUANT_ASSIGN_OR_RETURN(const std::vector<JsonStep> steps,
                         StepsOf("post-processor", root, "processors"));
  Frame all;
  for (const JsonStep& step : steps) {
    QUANT_ASSIGN_OR_RETURN(const Frame frame, FrameOf(step));
    all.before.insert(all.before.begin(), frame.before.begin(),
                      frame.before.end());
    all.after.insert(all.after.end(), frame.after.begin(), frame.after.end());
  }
  return all;
}

}  // namespace quant

#include "core/architecture/special_tokens.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"

namespace quant {
namespace {

using Json = nlohmann::json;

// The text of "bos_token": a string, or an object with it.
std::string TokenText(const Json& object, const std::string& key) {
  auto it = object.find(key);
  if (it == object.end()) return "";
  if (it->is_object()) {
    const auto content = it->find("content");
    if (content == it->end() || !content->is_string()) return "";
    return content->get<std::string>();
  }
  return it->is_string() ? it->get<std::string>() : "";
}

// An id, or the first of a list; -1 for anything else.
int64_t IdAt(const Json& object, const std::string& key) {
  auto it = object.find(key);
  if (it == object.end()) return -1;
  const Json& value = it->is_array() && !it->empty() ? (*it)[0] : *it;
  return value.is_number_integer() ? value.get<int64_t>() : -1;
}

// Ids that numbers give, in the order in which they count.
std::vector<int64_t> NumbersFor(absl::string_view kind,
                                const TokenizerFiles& files,
                                const DecoderConfig& config) {
  std::vector<int64_t> ids;
  if (kind == "bos") ids.push_back(config.bos);
  if (kind == "eos") ids.push_back(config.eos);
  if (kind == "pad") ids.push_back(config.pad);
  ids.push_back(IdAt(files.generation_config, absl::StrCat(kind, "_token_id")));
  if (files.spm) {
    if (kind == "bos") ids.push_back(files.spm->bos);
    if (kind == "eos") ids.push_back(files.spm->eos);
    if (kind == "unk") ids.push_back(files.spm->unk);
    if (kind == "pad") ids.push_back(files.spm->pad);
  }
  return ids;
}

int64_t IdOf(absl::string_view kind, const TokenizerFiles& files,
             const DecoderConfig& config, const Vocabulary& vocabulary) {
  const std::string key = absl::StrCat(kind, "_token");
  std::vector<std::string> texts = {TokenText(files.config, key),
                                    TokenText(files.special_tokens_map, key)};
  if (kind == "unk" && files.json) texts.push_back(files.json->unk_token);
  for (const std::string& text : texts) {
    const int64_t id = text.empty() ? -1 : vocabulary.Find(text);
    if (id >= 0) return id;
  }
  const int64_t end = static_cast<int64_t>(vocabulary.tokens.size());
  for (int64_t id : NumbersFor(kind, files, config)) {
    if (id >= 0 && id < end) return id;
  }
  return -1;
}

// The list under "single" of the first TemplateProcessing; null if none.
const Json* SingleTemplate(const Json& processor) {
  if (!processor.is_object()) return nullptr;
  const auto inner = processor.find("processors");
  if (inner != processor.end() && inner->is_array()) {
    for (const Json& step : *inner) {
      const Json* found = SingleTemplate(step);
      if (found != nullptr) return found;
    }
    return nullptr;
  }
  const auto type = processor.find("type");
  const auto single = processor.find("single");
  return type != processor.end() && *type == "TemplateProcessing" &&
                 single != processor.end() && single->is_array() &&
                 !single->empty()
             ? &*single
             : nullptr;
}

// The text of {"SpecialToken": {"id": text}}; empty for a sequence.
std::string SpecialText(const Json& item) {
  if (!item.is_object()) return "";
  const auto special = item.find("SpecialToken");
  if (special == item.end() || !special->is_object()) return "";
  const auto id = special->find("id");
  return id == special->end() || !id->is_string() ? "" : id->get<std::string>();
}

// Whether the token is put there by itself; nothing when no file says.
std::optional<bool> IsPut(absl::string_view kind, const TokenizerFiles& files,
                          int64_t id, const Vocabulary& vocabulary) {
  const auto it = files.config.find(absl::StrCat("add_", kind, "_token"));
  if (it != files.config.end() && it->is_boolean()) return it->get<bool>();
  if (!files.json) return std::nullopt;
  const Json* single = SingleTemplate(files.json->post_processor);
  if (single == nullptr) {
    // SentencePiece classes put it there whatever tokenizer.json says.
    return files.json->byte_fallback ? std::nullopt : std::optional(false);
  }
  const std::string text =
      SpecialText(kind == "bos" ? single->front() : single->back());
  return id >= 0 && text == vocabulary.tokens[id];
}

absl::StatusOr<GgufKv> TemplateKv(std::string key, const Json& text) {
  if (!text.is_string() ||
      static_cast<int64_t>(text.get_ref<const std::string&>().size()) >
          kMaxChatTemplateBytes) {
    return ModelMalformed(absl::StrCat("chat template: is no text of at most ",
                                       kMaxChatTemplateBytes, " bytes"));
  }
  return GgufKv{std::move(key), text.get<std::string>()};
}

// Keys are lower case words.
std::string KeyWord(absl::string_view name) {
  std::string word;
  for (char c : name.substr(0, 64)) {
    word += absl::ascii_isalnum(c) ? absl::ascii_tolower(c) : '_';
  }
  return word;
}

// [{"name": ..., "template": ...}]: "default" and others.
absl::Status AddNamed(const Json& list, std::vector<GgufKv>& kvs) {
  std::vector<std::string> names;
  for (const Json& entry : list) {
    if (!entry.is_object() || !entry.contains("template") ||
        static_cast<int64_t>(names.size()) >= kMaxChatTemplates) {
      return ModelMalformed(
          absl::StrCat("chat templates: are no list of at most ",
                       kMaxChatTemplates, " names with templates"));
    }
    const std::string name = KeyWord(TokenText(entry, "name"));
    const bool is_default = name == "default";
    const std::string key =
        is_default ? "tokenizer.chat_template"
                   : absl::StrCat("tokenizer.chat_template.", name);
    const bool again = std::any_of(
        kvs.begin(), kvs.end(), [&](const auto& kv) { return kv.key == key; });
    if (name.empty() || again) {
      return ModelMalformed(absl::StrCat("chat templates: the name ",
                                         QuotedName(name), " is taken"));
    }
    QUANT_ASSIGN_OR_RETURN(GgufKv kv, TemplateKv(key, entry["template"]));
    kvs.push_back(std::move(kv));
    if (!is_default) names.push_back(name);
  }
  if (!names.empty()) {
    kvs.push_back({"tokenizer.chat_templates", GgufArray(std::move(names))});
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<GgufKv> SpecialTokenKvs(const TokenizerFiles& files,
                                    const DecoderConfig& config,
                                    const Vocabulary& vocabulary) {
  // "seperator" is how the format spells it.
  const std::pair<absl::string_view, absl::string_view> kinds[] = {
      {"bos", "bos"},       {"eos", "eos"},     {"unk", "unknown"},
      {"sep", "seperator"}, {"pad", "padding"}, {"cls", "cls"},
      {"mask", "mask"}};
  std::vector<GgufKv> kvs, put;
  for (const auto& [kind, name] : kinds) {
    const int64_t id = IdOf(kind, files, config, vocabulary);
    if (id >= 0) {
      kvs.push_back({absl::StrCat("tokenizer.ggml.", name, "_token_id"),
                     static_cast<uint32_t>(id)});
    }
    if (kind != "bos" && kind != "eos") continue;
    if (const auto is_put = IsPut(kind, files, id, vocabulary)) {
      put.push_back(
          {absl::StrCat("tokenizer.ggml.add_", kind, "_token"), *is_put});
    }
  }
  kvs.insert(kvs.end(), put.begin(), put.end());
  return kvs;
}

absl::StatusOr<std::vector<GgufKv>> ChatTemplateKvs(
    const TokenizerFiles& files) {
  std::vector<GgufKv> kvs;
  if (!files.chat_template_jinja.empty()) {
    kvs.push_back({"tokenizer.chat_template", files.chat_template_jinja});
    return kvs;
  }
  for (const Json* object : {&files.config, &files.chat_template_json}) {
    const auto it = object->find("chat_template");
    if (it == object->end() || it->is_null()) continue;
    if (it->is_array()) {
      QUANT_RETURN_IF_ERROR(AddNamed(*it, kvs));
    } else {
      QUANT_ASSIGN_OR_RETURN(GgufKv kv,
                             TemplateKv("tokenizer.chat_template", *it));
      kvs.push_back(std::move(kv));
    }
    return kvs;
  }
  return kvs;
}

}  // namespace quant

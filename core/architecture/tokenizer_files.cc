#include "core/architecture/tokenizer_files.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/architecture/pre_tokenizers.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"
#include "core/container/json_tree.h"

namespace quant {
namespace {

using Json = nlohmann::json;

// tokenizer_config.json repeats added tokens, eight values each.
constexpr int64_t kMaxConfigNodes = 4 * kMaxJsonNodes;

struct Wanted {
  absl::string_view name;
  std::string TokenizerTexts::*text;
  int64_t max_bytes;
};

constexpr Wanted kWanted[] = {
    {"tokenizer.json", &TokenizerTexts::tokenizer_json, kMaxTokenizerBytes},
    {"tokenizer.model", &TokenizerTexts::tokenizer_model, kMaxTokenizerBytes},
    {"tokenizer_config.json", &TokenizerTexts::tokenizer_config,
     kMaxConfigBytes},
    {"special_tokens_map.json", &TokenizerTexts::special_tokens_map,
     kMaxConfigBytes},
    {"added_tokens.json", &TokenizerTexts::added_tokens, kMaxConfigBytes},
    {"generation_config.json", &TokenizerTexts::generation_config,
     kMaxConfigBytes},
    {"chat_template.jinja", &TokenizerTexts::chat_template_jinja,
     kMaxChatTemplateBytes},
    {"chat_template.json", &TokenizerTexts::chat_template_json,
     kMaxConfigBytes},
};

absl::StatusOr<Json> ObjectOf(absl::string_view name, absl::string_view text) {
  if (text.empty()) return Json::object();
  auto tree = ParseJsonTree(text, kMaxConfigNodes);
  if (!tree.ok()) return Annotate(tree.status(), name);
  if (tree->is_object()) return tree;
  return ModelMalformed(absl::StrCat(name, ": is not a JSON object"));
}

// added_tokens.json: {token: id}.
absl::Status AddOldStyle(absl::string_view text,
                         std::vector<AddedToken>& added) {
  QUANT_ASSIGN_OR_RETURN(const Json object,
                         ObjectOf("added_tokens.json", text));
  for (const auto& [token, id] : object.items()) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 ||
        id.get<int64_t>() >= kMaxTokens) {
      return ModelMalformed(absl::StrCat("added_tokens.json: token ",
                                         QuotedName(token), " has no id below ",
                                         kMaxTokens));
    }
    added.push_back({.id = id.get<int64_t>(), .content = token});
  }
  return absl::OkStatus();
}

// added_tokens_decoder of tokenizer_config.json: {id: token}.
absl::Status AddNewStyle(const Json& config, std::vector<AddedToken>& added) {
  const auto decoder = config.find("added_tokens_decoder");
  if (decoder == config.end() || !decoder->is_object()) {
    return absl::OkStatus();
  }
  for (const auto& [id, object] : decoder->items()) {
    auto token = ParseAddedToken(id, object);
    if (!token.ok()) return Annotate(token.status(), "tokenizer_config.json");
    added.push_back(*std::move(token));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerTexts> ReadTokenizerTexts(const ModelReader& model) {
  QUANT_ASSIGN_OR_RETURN(TokenizerTexts texts,
                         ReadTokenizerTexts(model.side_files()));
  for (const MadeFile& file : model.made_files()) {
    for (const Wanted& wanted : kWanted) {
      if (file.name == wanted.name) texts.*wanted.text = file.text;
    }
  }
  return texts;
}

absl::StatusOr<TokenizerTexts> ReadTokenizerTexts(
    absl::Span<const SideFile> files) {
  TokenizerTexts texts;
  for (const SideFile& file : files) {
    for (const Wanted& wanted : kWanted) {
      if (file.name != wanted.name) continue;
      QUANT_ASSIGN_OR_RETURN(texts.*wanted.text,
                             ReadFile(file.path, wanted.max_bytes));
    }
  }
  return texts;
}

absl::StatusOr<TokenizerFiles> ParseTokenizerFiles(
    const TokenizerTexts& texts) {
  TokenizerFiles files;
  QUANT_RETURN_IF_ERROR(AddOldStyle(texts.added_tokens, files.added));
  if (!texts.tokenizer_json.empty()) {
    auto json = ParseTokenizerJson(texts.tokenizer_json);
    if (!json.ok()) return Annotate(json.status(), "tokenizer.json");
    files.json = *std::move(json);
    files.added.insert(files.added.end(), files.json->added.begin(),
                       files.json->added.end());
  }
  // Beside a byte-level tokenizer.json, the file is one of tiktoken.
  const bool has_spm = !texts.tokenizer_model.empty() &&
                       !(files.json && IsByteLevel(*files.json));
  if (has_spm) {
    auto spm = ParseSpmModel(texts.tokenizer_model);
    if (!spm.ok()) return Annotate(spm.status(), "tokenizer.model");
    files.spm = *std::move(spm);
  }
  QUANT_ASSIGN_OR_RETURN(
      files.config, ObjectOf("tokenizer_config.json", texts.tokenizer_config));
  QUANT_RETURN_IF_ERROR(AddNewStyle(files.config, files.added));
  QUANT_ASSIGN_OR_RETURN(
      files.special_tokens_map,
      ObjectOf("special_tokens_map.json", texts.special_tokens_map));
  QUANT_ASSIGN_OR_RETURN(
      files.generation_config,
      ObjectOf("generation_config.json", texts.generation_config));
  QUANT_ASSIGN_OR_RETURN(
      files.chat_template_json,
      ObjectOf("chat_template.json", texts.chat_template_json));
  files.chat_template_jinja = texts.chat_template_jinja;
  if (!IsUtf8(files.chat_template_jinja)) {
    return ModelMalformed("chat_template.jinja: is not UTF-8");
  }
  return files;
}

}  // namespace quant

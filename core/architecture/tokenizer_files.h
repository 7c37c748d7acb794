// The files of a checkpoint that describe its tokenizer.
#ifndef QUANT_CORE_ARCHITECTURE_TOKENIZER_FILES_H_
#define QUANT_CORE_ARCHITECTURE_TOKENIZER_FILES_H_

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/architecture/spm_model.h"
#include "core/architecture/tokenizer_json.h"
#include "core/container/model_reader.h"

namespace quant {

// Contents; empty when a file is not there.
struct TokenizerTexts {
  std::string tokenizer_json = {};
  std::string tokenizer_model = {};
  std::string tokenizer_config = {};
  std::string special_tokens_map = {};
  std::string added_tokens = {};
  std::string generation_config = {};
  std::string chat_template_jinja = {};
  std::string chat_template_json = {};
};

// Parsed: each file by itself, nothing compared yet.
struct TokenizerFiles {
  std::optional<TokenizerJson> json;
  std::optional<SpmModel> spm;
  // Objects, empty when the file is not there.
  nlohmann::json config;  // tokenizer_config.json
  nlohmann::json special_tokens_map;
  nlohmann::json generation_config;
  nlohmann::json chat_template_json;
  std::string chat_template_jinja;  // UTF-8
  // Of all files that list some; what comes later counts.
  std::vector<AddedToken> added;
};

// Of the files beside the model and those that it makes. DATA_LOSS or
// RESOURCE_EXHAUSTED when a file can't be read or is too large.
absl::StatusOr<TokenizerTexts> ReadTokenizerTexts(const ModelReader& model);
absl::StatusOr<TokenizerTexts> ReadTokenizerTexts(
    absl::Span<const SideFile> files);

// DATA_LOSS MODEL_MALFORMED, naming the file.
absl::StatusOr<TokenizerFiles> ParseTokenizerFiles(const TokenizerTexts& texts);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_TOKENIZER_FILES_H_

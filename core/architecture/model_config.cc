#include "core/architecture/model_config.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

using Json = nlohmann::json;

// The string at `key`, or empty when it is absent or null.
absl::StatusOr<std::string> StringAt(const Json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return std::string();
  if (it->is_string()) return it->get<std::string>();
  return ModelMalformed(absl::StrCat("config.json: \"", key, "\" is a ",
                                     it->type_name(), "; a string is allowed"));
}

std::string QuantMethodOf(const Json& config) {
  for (const char* key : {"quantization_config", "compression_config"}) {
    const auto it = config.find(key);
    if (it == config.end() || it->is_null()) continue;
    if (it->is_object() && it->contains("quant_method") &&
        (*it)["quant_method"].is_string()) {
      return (*it)["quant_method"].get<std::string>();
    }
    return "unknown";
  }
  return "";
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view json) {
  ModelConfig config;
  if (json.empty()) return config;
  const Json parsed = Json::parse(json.begin(), json.end(), nullptr,
                                  /*allow_exceptions=*/false);
  if (!parsed.is_object()) {
    return ModelMalformed("config.json: is not a JSON object");
  }
  QUANT_ASSIGN_OR_RETURN(config.model_type, StringAt(parsed, "model_type"));
  QUANT_ASSIGN_OR_RETURN(config.torch_dtype, StringAt(parsed, "torch_dtype"));
  if (config.torch_dtype.empty()) {
    QUANT_ASSIGN_OR_RETURN(config.torch_dtype, StringAt(parsed, "dtype"));
  }
  if (const auto it = parsed.find("architectures");
      it != parsed.end() && it->is_array() && !it->empty() &&
      (*it)[0].is_string()) {
    config.architecture = (*it)[0].get<std::string>();
  }
  if (const auto it = parsed.find("tie_word_embeddings");
      it != parsed.end() && it->is_boolean()) {
    config.tie_word_embeddings = it->get<bool>();
  }
  config.quant_method = QuantMethodOf(parsed);
  if (config.quant_method.empty()) {
    const auto text = parsed.find("text_config");
    if (text != parsed.end() && text->is_object()) {
      config.quant_method = QuantMethodOf(*text);
    }
  }
  return config;
}

}  // namespace quant

// The tokenizers of tests/golden/tokenizers.
#ifndef QUANT_TESTS_CORE_TOKENIZER_TOKENIZER_CASES_H_
#define QUANT_TESTS_CORE_TOKENIZER_TOKENIZER_CASES_H_

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/file.h"
#include "core/tokenizer/tokenizer.h"
#include "gtest/gtest.h"

namespace quant {

inline std::string GoldenFile(const std::string& name) {
  const auto bytes = ReadFile(
      std::string(QUANT_SOURCE_DIR) + "/tests/golden/" + name, 64 << 20);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.ok() ? *bytes : "";
}

inline nlohmann::json GoldenJson(const std::string& name) {
  return nlohmann::json::parse(GoldenFile("tokenizers/" + name));
}

// The tokenizer.json `base`.json with other values for keys at its top and in
// its model.
inline std::string TokenizerText(
    const std::string& base,
    const nlohmann::json& changes = nlohmann::json::object(),
    const nlohmann::json& model = nlohmann::json::object()) {
  nlohmann::json whole = GoldenJson(base + ".json");
  whole.update(changes);
  whole["model"].update(model);
  return whole.dump();
}

inline absl::StatusOr<std::unique_ptr<const Tokenizer>> MakeTokenizer(
    const TokenizerTexts& texts) {
  const auto files = ParseTokenizerFiles(texts);
  if (!files.ok()) return files.status();
  return Tokenizer::Make(*files);
}

// The ids with what belongs before and after the text.
inline std::vector<int32_t> FramedIds(const Tokenizer& tokenizer,
                                      const std::string& text) {
  const auto encoding = tokenizer.Encode(text);
  EXPECT_TRUE(encoding.ok()) << encoding.status();
  std::vector<int32_t> ids = tokenizer.frame().before;
  if (encoding.ok()) {
    ids.insert(ids.end(), encoding->ids.begin(), encoding->ids.end());
  }
  ids.insert(ids.end(), tokenizer.frame().after.begin(),
             tokenizer.frame().after.end());
  return ids;
}

}  // namespace quant

#endif  // QUANT_TESTS_CORE_TOKENIZER_TOKENIZER_CASES_H_

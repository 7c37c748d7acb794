// What must hold of the keys that are made of any tokenizer.
#ifndef QUANT_TESTS_FUZZ_TOKENIZER_CHECK_H_
#define QUANT_TESTS_FUZZ_TOKENIZER_CHECK_H_

#include <cstdint>
#include <set>
#include <string>

#include "core/architecture/gguf_metadata.h"
#include "core/base/error.h"
#include "tests/fuzz/targets.h"

namespace quant::fuzz {

inline bool IsTokenizerAnswer(const absl::Status& status) {
  const Reason reason = GetReason(status);
  return status.message().size() < 4096 &&
         (reason == Reason::kModelMalformed || reason == Reason::kUnsupported ||
          reason == Reason::kSourceMissing);
}

inline void CheckTokenizer(const TokenizerTexts& texts) {
  constexpr int64_t kRows = 300;
  const auto files = ParseTokenizerFiles(texts);
  if (!files.ok()) {
    QUANT_FUZZ_CHECK(IsTokenizerAnswer(files.status()));
    return;
  }
  const auto kvs = GgufTokenizerKvs(*files, quant::DecoderConfig(), kRows);
  if (!kvs.ok()) {
    QUANT_FUZZ_CHECK(IsTokenizerAnswer(kvs.status()));
    return;
  }
  // What loaders assert.
  const auto tokens = GetGgufArray<std::string>(*kvs, "tokenizer.ggml.tokens");
  QUANT_FUZZ_CHECK(tokens.ok());
  const std::set<std::string> unique((*tokens)->begin(), (*tokens)->end());
  QUANT_FUZZ_CHECK(unique.size() == kRows);
  for (const GgufKv& kv : *kvs) {
    const uint32_t* id = std::get_if<uint32_t>(&kv.value);
    QUANT_FUZZ_CHECK(id == nullptr || *id < kRows);
  }
}

}  // namespace quant::fuzz

#endif  // QUANT_TESTS_FUZZ_TOKENIZER_CHECK_H_

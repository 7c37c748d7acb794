// What a tokenizer puts before and after a text.
#ifndef QUANT_CORE_TOKENIZER_POST_PROCESSOR_H_
#define QUANT_CORE_TOKENIZER_POST_PROCESSOR_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/status/statusor.h"

namespace quant {

struct Frame {
  std::vector<int32_t> before, after;
};

// tokenizer.json's "post_processor" for one text. INVALID_ARGUMENT UNSUPPORTED
// for types other than TemplateProcessing, BertProcessing, RobertaProcessing
// and ByteLevel (which changes no ids), and templates that do not hold the text
// exactly once.
absl::StatusOr<Frame> ParsePostProcessor(const nlohmann::json& root);

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_POST_PROCESSOR_H_

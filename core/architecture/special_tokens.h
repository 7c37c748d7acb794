// Which tokens begin and end a text, whether they are put there by themselves,
// and the templates of chats, which are never rendered here.
#ifndef QUANT_CORE_ARCHITECTURE_SPECIAL_TOKENS_H_
#define QUANT_CORE_ARCHITECTURE_SPECIAL_TOKENS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "core/architecture/decoder_config.h"
#include "core/architecture/tokenizer_files.h"
#include "core/architecture/vocabulary.h"
#include "core/container/gguf_value.h"

namespace quant {

// tokenizer.ggml.bos_token_id and its siblings, add_bos_token, add_eos_token.
// Text in tokenizer_config.json and special_tokens_map.json goes before numbers
// in config.json, generation_config.json and tokenizer.model.
std::vector<GgufKv> SpecialTokenKvs(const TokenizerFiles& files,
                                    const DecoderConfig& config,
                                    const Vocabulary& vocabulary);

// tokenizer.chat_template, and named ones. DATA_LOSS MODEL_MALFORMED for
// templates that are no text, too long or too many.
absl::StatusOr<std::vector<GgufKv>> ChatTemplateKvs(
    const TokenizerFiles& files);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_SPECIAL_TOKENS_H_

// Files of a Hugging Face tokenizer for the one in a GGUF file.
#ifndef QUANT_CORE_ARCHITECTURE_HF_TOKENIZER_H_
#define QUANT_CORE_ARCHITECTURE_HF_TOKENIZER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/architecture/decoder_config.h"
#include "core/container/gguf_value.h"
#include "core/container/model_reader.h"

namespace quant {

struct HfTokenizer {
  std::vector<MadeFile> files;
  std::vector<std::string> notes;  // what can't be known, for people
};

// tokenizer.json and tokenizer_config.json; tokenizer.model too where the file
// has SentencePiece's scores. Byte-level tokenizers cut text as
// tokenizer.ggml.pre says: under an unknown name there is no tokenizer.json.
// DATA_LOSS MODEL_MALFORMED for keys that contradict each other.
absl::StatusOr<HfTokenizer> MakeHfTokenizer(absl::Span<const GgufKv> kvs,
                                            const DecoderConfig& config);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_HF_TOKENIZER_H_

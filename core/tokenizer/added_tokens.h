// Tokens that are found in a text before it is cut: special ones, and those
// that a vocabulary got later.
// Source: AddedVocabulary of the tokenizers library.
#ifndef QUANT_CORE_TOKENIZER_ADDED_TOKENS_H_
#define QUANT_CORE_TOKENIZER_ADDED_TOKENS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/architecture/tokenizer_json.h"
#include "core/tokenizer/regex.h"
#include "core/tokenizer/text_matcher.h"

namespace quant {

class AddedTokens {
 public:
  // What a text consists of: an id, or text between them (id -1).
  struct Part {
    int32_t id = -1;
    int64_t begin = 0, end = 0;
  };

  // `tokens` are sought as `spelled` says, which is parallel.
  static absl::StatusOr<AddedTokens> Make(absl::Span<const AddedToken> tokens,
                                          std::vector<std::string> spelled);

  // The parts of `text`, from left to right.
  absl::StatusOr<std::vector<Part>> Find(absl::string_view text) const;

 private:
  absl::StatusOr<bool> IsInsideWord(absl::string_view text, int64_t begin,
                                    int64_t end) const;

  std::vector<AddedToken> tokens_;
  TextMatcher matcher_;
  std::optional<Regex> word_;  // where one has to be told from a word
};

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_ADDED_TOKENS_H_

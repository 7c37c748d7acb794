// Cutting a piece at the matches of a pattern, and what becomes of a match.
// Source: SplitDelimiterBehavior of the tokenizers library.
#ifndef QUANT_CORE_TOKENIZER_SPLIT_H_
#define QUANT_CORE_TOKENIZER_SPLIT_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/tokenizer/cut_text.h"
#include "core/tokenizer/regex.h"

namespace quant {

enum class SplitBehavior {
  kRemoved,
  kIsolated,            // a match is a piece
  kMergedWithPrevious,  // ... belongs to what is before it
  kMergedWithNext,
  kContiguous,  // matches that touch are one piece
};

// "Isolated", ...; INVALID_ARGUMENT UNSUPPORTED for others.
absl::StatusOr<SplitBehavior> ParseSplitBehavior(absl::string_view name);

struct SplitRule {
  Regex pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // what lies between the matches is the match
};

// Cuts every piece.
absl::Status Split(const SplitRule& rule, CutText& pieces);

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_SPLIT_H_

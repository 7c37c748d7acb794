// Bounds that texts and the tokenizers that cut them meet, beside those of
// limits.h.
#ifndef QUANT_CORE_BASE_TEXT_LIMITS_H_
#define QUANT_CORE_BASE_TEXT_LIMITS_H_

#include <cstdint>

namespace quant {

// Of all added tokens together; the largest that were seen have 200 kB.
inline constexpr int64_t kMaxAddedTokenBytes = 16 << 20;
inline constexpr int64_t kMaxPatternBytes = 1 << 14;
inline constexpr int64_t kMaxTokenizerSteps = 64;  // of one kind
// Backtracking of one match of a pattern: so much, and so much per byte of the
// text. Patterns of real tokenizers go back over a run of spaces twice.
inline constexpr int64_t kMaxMatchSteps = 1'000'000;
inline constexpr int64_t kMaxMatchStepsPerByte = 16;
// One text that is tokenized as a whole; about forty times that in memory.
inline constexpr int64_t kMaxDocumentBytes = 64 << 20;
// A step may make a text longer (a space before every piece); beyond this it
// is refused.
inline constexpr int64_t kMaxNormalizedBytes = 512 << 20;
// Files of texts, read whole.
inline constexpr int64_t kMaxTextFileBytes = 1 << 30;
// Those of jobs, which are tokenized while they are planned; a hundred thousand
// tokens have about 0.5 MB.
inline constexpr int64_t kMaxJobTextBytes = 16 << 20;
inline constexpr int64_t kMaxDocuments = 1 << 24;
inline constexpr int64_t kMaxMessages = 1 << 14;

}  // namespace quant

#endif  // QUANT_CORE_BASE_TEXT_LIMITS_H_

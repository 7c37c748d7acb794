// Regular expressions over Unicode text, in Oniguruma's syntax as far as
// tokenizers use it (regex_syntax.h), matched by PCRE2.
#ifndef QUANT_CORE_TOKENIZER_REGEX_H_
#define QUANT_CORE_TOKENIZER_REGEX_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quant {

class Regex;

// What searches need; made once for many texts. Used by the thread that made
// it; the Regex outlives it.
class RegexSearch {
 public:
  static absl::StatusOr<RegexSearch> Make(const Regex& regex);

  RegexSearch(RegexSearch&&) noexcept;
  RegexSearch& operator=(RegexSearch&&) noexcept;
  ~RegexSearch();

  // Calls `found` for every match in `text`, which is UTF-8, from left to
  // right. A match may be empty unless one ended there.
  // RESOURCE_EXHAUSTED UNSUPPORTED when one takes more steps than allowed
  // (kMaxMatchSteps).
  absl::Status FindAll(
      absl::string_view text,
      absl::FunctionRef<void(int64_t begin, int64_t end)> found) const;

 private:
  struct Impl;
  explicit RegexSearch(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

// Immutable; may be used by many threads. Move-only.
class Regex {
 public:
  // INVALID_ARGUMENT UNSUPPORTED for what can't be compiled, DATA_LOSS
  // MODEL_MALFORMED for patterns of more than kMaxPatternBytes.
  static absl::StatusOr<Regex> Compile(absl::string_view pattern);
  // Text that stands for itself; not empty.
  static absl::StatusOr<Regex> Literal(absl::string_view text);

  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

 private:
  friend class RegexSearch;
  struct Impl;
  explicit Regex(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_REGEX_H_

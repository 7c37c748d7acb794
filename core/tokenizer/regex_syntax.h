// Patterns of tokenizer.json are written for Oniguruma (Ruby's syntax); here
// they become patterns for PCRE2 that match the same, or are refused.
//
// What differs: \s, \w and \d are the Unicode properties White_Space; word
// (Alphabetic, M, Nd, Pc); Nd. \v is one character. \p{Script} is the script,
// not its extensions. Refused is what means something else in PCRE2 or nothing:
// nested classes and &&, \h \b \R \X and groups' numbers, {,n}, {n,m}+, and
// groups other than (?: (?i: (?= (?! (?<= (?<! (?>.
//
// Sources: doc/RE and doc/SYNTAX.md of Oniguruma, pcre2pattern(3).
#ifndef QUANT_CORE_TOKENIZER_REGEX_SYNTAX_H_
#define QUANT_CORE_TOKENIZER_REGEX_SYNTAX_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quant {

// INVALID_ARGUMENT UNSUPPORTED, naming the construct and its place.
absl::StatusOr<std::string> PcrePattern(absl::string_view pattern);

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_REGEX_SYNTAX_H_

#include "core/tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "core/base/status_macros.h"
#include "core/tokenizer/unicode.h"

namespace quant {
namespace {

// Characters of words, joiners among them.
constexpr char kWordPattern[] = "[\\w\\u200C\\u200D]";

// Where the white space before `at` begins, not before `floor`.
int64_t SpaceBefore(absl::string_view text, int64_t floor, int64_t at) {
  while (at > floor) {
    const absl::string_view before = text.substr(0, at);
    const size_t last = LastCodePointAt(before);
    if (!IsWhiteSpace(FirstCodePoint(before.substr(last)).value)) break;
    at = static_cast<int64_t>(last);
  }
  return at;
}

int64_t SpaceAfter(absl::string_view text, int64_t at) {
  const int64_t size = static_cast<int64_t>(text.size());
  while (at < size) {
    const CodePoint c = FirstCodePoint(text.substr(at));
    if (!IsWhiteSpace(c.value)) break;
    at += static_cast<int64_t>(c.bytes);
  }
  return at;
}

}  // namespace

absl::StatusOr<AddedTokens> AddedTokens::Make(
    absl::Span<const AddedToken> tokens, std::vector<std::string> spelled) {
  AddedTokens out;
  out.tokens_.assign(tokens.begin(), tokens.end());
  out.matcher_ = TextMatcher(spelled);
  for (const AddedToken& token : tokens) {
    if (!token.single_word || out.word_) continue;
    QUANT_ASSIGN_OR_RETURN(out.word_, Regex::Compile(kWordPattern));
  }
  return out;
}

absl::StatusOr<bool> AddedTokens::IsInsideWord(absl::string_view text,
                                               int64_t begin,
                                               int64_t end) const {
  QUANT_ASSIGN_OR_RETURN(const RegexSearch search, RegexSearch::Make(*word_));
  bool touches = false;
  const auto found = [&](int64_t, int64_t) { touches = true; };
  if (begin > 0) {
    const absl::string_view before = text.substr(0, begin);
    QUANT_RETURN_IF_ERROR(
        search.FindAll(before.substr(LastCodePointAt(before)), found));
  }
  if (end < static_cast<int64_t>(text.size())) {
    const size_t bytes = FirstCodePoint(text.substr(end)).bytes;
    QUANT_RETURN_IF_ERROR(search.FindAll(text.substr(end, bytes), found));
  }
  return touches;
}

absl::StatusOr<std::vector<AddedTokens::Part>> AddedTokens::Find(
    absl::string_view text) const {
  std::vector<Part> parts;
  const int64_t size = static_cast<int64_t>(text.size());
  int64_t done = 0;
  absl::Status status;
  const auto add = [&](int64_t begin, int64_t end, int32_t index) {
    const AddedToken& token = tokens_[index];
    if (!status.ok()) return;
    if (token.single_word) {
      const auto inside = IsInsideWord(text, begin, end);
      status = inside.status();
      if (!inside.ok() || *inside) return;
    }
    // The match before may have taken the space already.
    if (token.lstrip) begin = std::max(SpaceBefore(text, done, begin), done);
    if (token.rstrip) end = SpaceAfter(text, end);
    if (done < begin) parts.push_back({-1, done, begin});
    parts.push_back({static_cast<int32_t>(token.id), begin, end});
    done = end;
  };
  matcher_.FindAll(text, add);
  if (!status.ok()) return status;
  if (done < size) parts.push_back({-1, done, size});
  return parts;
}

}  // namespace quant

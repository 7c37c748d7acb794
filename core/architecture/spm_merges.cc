// Source of the order: SentencePiece's BPE (Kudo and Richardson 2018), and the
// conversion of its models in Hugging Face transformers, which lists all
// splits of a piece.
#include "core/architecture/spm_merges.h"

#include <algorithm>
#include <tuple>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/error.h"
#include "core/base/limits.h"

namespace quant {
namespace {

// Sum of squares of pieces' lengths, which is what looking for their splits
// costs. The largest vocabularies are at 2^24.
constexpr int64_t kMaxWork = int64_t{1} << 32;

bool TakesPart(const GgufTokenizer& tokenizer, size_t id) {
  const std::string& text = tokenizer.tokens[id];
  return tokenizer.IsMerged(static_cast<int64_t>(id)) &&
         text.find(' ') == std::string::npos;
}

bool BeginsCharacter(char byte) {
  return (static_cast<uint8_t>(byte) & 0xC0) != 0x80;
}

absl::Status TooMany(absl::string_view what) {
  return MakeError(absl::StatusCode::kResourceExhausted,
                   Reason::kModelMalformed, absl::StrCat("tokenizer: ", what));
}

}  // namespace

absl::StatusOr<std::vector<SpmMerge>> MergesOfScores(
    const GgufTokenizer& tokenizer) {
  absl::flat_hash_map<absl::string_view, int32_t> ids;
  int64_t work = 0;
  for (size_t i = 0; i < tokenizer.tokens.size(); ++i) {
    if (!TakesPart(tokenizer, i)) continue;
    const int64_t size = static_cast<int64_t>(tokenizer.tokens[i].size());
    work += size * size;
    ids[tokenizer.tokens[i]] = static_cast<int32_t>(i);
  }
  if (work > kMaxWork) return TooMany("its pieces are too long");
  std::vector<SpmMerge> merges;
  for (size_t i = 0; i < tokenizer.tokens.size(); ++i) {
    const absl::string_view text = tokenizer.tokens[i];
    if (!TakesPart(tokenizer, i)) continue;
    for (size_t cut = 1; cut < text.size(); ++cut) {
      if (!BeginsCharacter(text[cut])) continue;
      const auto left = ids.find(text.substr(0, cut));
      if (left == ids.end()) continue;
      const auto right = ids.find(text.substr(cut));
      if (right == ids.end()) continue;
      merges.push_back({left->second, right->second, static_cast<int32_t>(i)});
    }
    if (static_cast<int64_t>(merges.size()) > kMaxMerges) {
      return TooMany(absl::StrCat("more than ", kMaxMerges, " merges"));
    }
  }
  const auto key = [&](const SpmMerge& merge) {
    return std::make_tuple(-tokenizer.scores[merge.whole], merge.whole,
                           merge.left, merge.right);
  };
  std::sort(merges.begin(), merges.end(),
            [&](const auto& a, const auto& b) { return key(a) < key(b); });
  return merges;
}

}  // namespace quant

#include "core/architecture/vocabulary.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"

namespace quant {
namespace {

// The scores that llama.cpp's converter gives.
constexpr float kAddedScore = -1000;
constexpr float kPaddingScore = -10000;
// SentencePiece's spelling of a space.
constexpr char kSpaceSign[] = "\u2581";

class Builder {
 public:
  explicit Builder(int64_t rows) : used_(rows, false) {
    out_.tokens.resize(rows);
    out_.scores.assign(rows, kPaddingScore);
    out_.types.assign(rows, TokenType::kUnused);
  }

  absl::Status Add(int64_t id, std::string token, float score, TokenType type) {
    if (id >= rows()) {
      return ModelMalformed(
          absl::StrCat("token ", QuotedName(token), " has id ", id,
                       ", but the embedding has ", rows(), " rows"));
    }
    if (used_[id]) {
      return ModelMalformed(absl::StrCat("id ", id, " belongs to ",
                                         QuotedName(out_.tokens[id]), " and ",
                                         QuotedName(token)));
    }
    Set(id, std::move(token), score, type);
    return absl::OkStatus();
  }

  void AddAdded(absl::Span<const AddedToken> added) {
    for (const AddedToken& token : added) {
      if (token.id >= rows()) continue;
      // These are listed as added too, and stay what they are.
      const TokenType type = out_.types[token.id];
      if (type == TokenType::kUnknown || type == TokenType::kByte) continue;
      if (token.special || LooksSpecial(token.content)) {
        Set(token.id, token.content, kAddedScore, TokenType::kControl);
      } else {
        // Loaders look for these in text before spaces are respelled.
        Set(token.id, absl::StrReplaceAll(token.content, {{kSpaceSign, " "}}),
            kAddedScore, TokenType::kUserDefined);
      }
    }
  }

  absl::StatusOr<Vocabulary> Finish() {
    for (int64_t id = 0; id < rows(); ++id) {
      if (!used_[id]) out_.tokens[id] = absl::StrCat("[PAD", id, "]");
    }
    std::vector<int64_t> order(rows());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return out_.tokens[a] < out_.tokens[b];
    });
    for (int64_t i = 1; i < rows(); ++i) {
      const std::string& token = out_.tokens[order[i]];
      if (token != out_.tokens[order[i - 1]]) continue;
      return ModelMalformed(absl::StrCat("token ", QuotedName(token),
                                         " has the ids ", order[i - 1], " and ",
                                         order[i]));
    }
    return std::move(out_);
  }

 private:
  int64_t rows() const { return static_cast<int64_t>(used_.size()); }

  void Set(int64_t id, std::string token, float score, TokenType type) {
    out_.tokens[id] = std::move(token);
    out_.scores[id] = score;
    out_.types[id] = type;
    used_[id] = true;
  }

  std::vector<bool> used_;
  Vocabulary out_;
};

// Ranks of the tokens that merges make: (token, rank), sorted, best first.
std::vector<std::pair<std::string, int64_t>> RanksOf(
    absl::Span<const std::string> merges) {
  std::vector<std::pair<std::string, int64_t>> ranks;
  ranks.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    std::string token = merges[i];
    token.erase(token.find(' '), 1);
    ranks.emplace_back(std::move(token), static_cast<int64_t>(i));
  }
  std::sort(ranks.begin(), ranks.end());
  return ranks;
}

}  // namespace

int64_t Vocabulary::Find(absl::string_view token) const {
  const auto it = std::find(tokens.begin(), tokens.end(), token);
  return it == tokens.end() ? -1 : it - tokens.begin();
}

bool IsByteToken(absl::string_view token) {
  return token.size() == 6 && absl::StartsWith(token, "<0x") &&
         absl::ascii_isxdigit(token[3]) && absl::ascii_isxdigit(token[4]) &&
         token[5] == '>';
}

bool LooksSpecial(absl::string_view token) {
  for (absl::string_view known : {"<pad>", "<mask>", "<2mass>", "[@BOS@]"}) {
    if (token == known) return true;
  }
  // The last pair is what the DeepSeek models have.
  const std::pair<absl::string_view, absl::string_view> fences[] = {
      {"<|", "|>"}, {"<unused", ">"}, {"<\uFF5C", "\uFF5C>"}};
  for (const auto& [begin, end] : fences) {
    if (token.size() >= begin.size() + end.size() &&
        absl::StartsWith(token, begin) && absl::EndsWith(token, end)) {
      return true;
    }
  }
  return false;
}

absl::StatusOr<Vocabulary> VocabularyOfSpm(const SpmModel& model,
                                           absl::Span<const AddedToken> added,
                                           int64_t rows) {
  Builder builder(rows);
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    const SpmPiece& piece = model.pieces[i];
    QUANT_RETURN_IF_ERROR(builder.Add(static_cast<int64_t>(i), piece.text,
                                      piece.score, piece.type));
  }
  builder.AddAdded(added);
  return builder.Finish();
}

absl::StatusOr<Vocabulary> VocabularyOfMerges(
    const TokenizerJson& tokenizer, absl::Span<const AddedToken> added,
    int64_t rows) {
  Builder builder(rows);
  const auto ranks = RanksOf(tokenizer.merges);
  for (const VocabEntry& entry : tokenizer.vocab) {
    // Characters, and what no merge makes, come last.
    int64_t rank = static_cast<int64_t>(ranks.size());
    const auto it = std::lower_bound(ranks.begin(), ranks.end(),
                                     std::make_pair(entry.text, int64_t{0}));
    if (it != ranks.end() && it->first == entry.text) rank = it->second;
    TokenType type = TokenType::kNormal;
    if (entry.text == tokenizer.unk_token) {
      type = TokenType::kUnknown;
    } else if (IsByteToken(entry.text)) {
      type = TokenType::kByte;
    }
    const float score =
        type == TokenType::kNormal ? static_cast<float>(-rank) : 0;
    QUANT_RETURN_IF_ERROR(builder.Add(entry.id, entry.text, score, type));
  }
  builder.AddAdded(added);
  return builder.Finish();
}

absl::StatusOr<Vocabulary> VocabularyOfBytes(const TokenizerJson& tokenizer,
                                             absl::Span<const AddedToken> added,
                                             int64_t rows) {
  Builder builder(rows);
  for (const VocabEntry& entry : tokenizer.vocab) {
    QUANT_RETURN_IF_ERROR(
        builder.Add(entry.id, entry.text, 0, TokenType::kNormal));
  }
  builder.AddAdded(added);
  return builder.Finish();
}

}  // namespace quant

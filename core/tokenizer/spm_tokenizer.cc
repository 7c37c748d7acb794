#include "core/tokenizer/spm_tokenizer.h"

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"
#include "core/tokenizer/merge.h"
#include "core/tokenizer/text_matcher.h"
#include "core/tokenizer/unicode.h"

namespace quant {
namespace {

// A symbol that no piece is spelled like.
constexpr int32_t kNoPiece = -1;
// One that was given whole and never merges.
constexpr int32_t kFrozen = -2;

absl::Status Unsupported(absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
                   absl::StrCat("tokenizer.model: ", what));
}

class SpmBpe final : public TokenModel {
 public:
  static absl::StatusOr<std::unique_ptr<TokenModel>> Make(const SpmModel& spm);

  void Encode(absl::string_view part, Encoding& out) const override;
  bool cuts() const override { return cuts_; }
  const std::vector<std::string>& tokens() const override { return tokens_; }

 private:
  absl::Status AddPieces(const SpmModel& spm);
  absl::Status AddBytes(const SpmModel& spm);
  void RankScores(const SpmModel& spm);
  std::vector<Symbol> SymbolsOf(absl::string_view part) const;
  void AddIds(absl::string_view text, bool& after_unknown, Encoding& out) const;

  std::vector<std::string> tokens_;
  absl::flat_hash_map<std::string, int32_t> pieces_;    // may be merged to
  absl::flat_hash_map<std::string, int32_t> reserved_;  // may not
  std::vector<int32_t> ranks_;                          // by id
  std::vector<std::string> user_defined_;
  TextMatcher matcher_;  // of these
  std::array<int32_t, 256> bytes_;
  bool byte_fallback_ = false;
  bool cuts_ = false;
  int32_t unk_ = -1;
};

absl::StatusOr<std::unique_ptr<TokenModel>> SpmBpe::Make(const SpmModel& spm) {
  if (!spm.is_bpe) {
    return Unsupported(
        "is a unigram, word or character model; BPE is supported");
  }
  auto model = std::make_unique<SpmBpe>();
  QUANT_RETURN_IF_ERROR(model->AddPieces(spm));
  QUANT_RETURN_IF_ERROR(model->AddBytes(spm));
  model->RankScores(spm);
  model->matcher_ = TextMatcher(model->user_defined_);
  model->cuts_ = MayCutBeforeSpaces(model->tokens_);
  return std::unique_ptr<TokenModel>(std::move(model));
}

absl::Status SpmBpe::AddPieces(const SpmModel& spm) {
  for (size_t i = 0; i < spm.pieces.size(); ++i) {
    const SpmPiece& piece = spm.pieces[i];
    const auto id = static_cast<int32_t>(i);
    if (piece.text.empty()) {
      return ModelMalformed(
          absl::StrCat("tokenizer.model: piece ", i, " is empty"));
    }
    if (piece.type == TokenType::kUnused) {
      return Unsupported(absl::StrCat("piece ", i, " (", QuotedName(piece.text),
                                      ") is unused; such models are not "
                                      "supported"));
    }
    const bool merges = piece.type == TokenType::kNormal ||
                        piece.type == TokenType::kUserDefined;
    if (!(merges ? pieces_ : reserved_).emplace(piece.text, id).second) {
      return ModelMalformed(absl::StrCat("tokenizer.model: piece ",
                                         QuotedName(piece.text),
                                         " is there twice"));
    }
    if (piece.type == TokenType::kUserDefined) {
      user_defined_.push_back(piece.text);
    }
    if (piece.type == TokenType::kUnknown && unk_ < 0) unk_ = id;
    tokens_.push_back(piece.text);
  }
  if (unk_ < 0) {
    return ModelMalformed("tokenizer.model: has no unknown piece");
  }
  return absl::OkStatus();
}

absl::Status SpmBpe::AddBytes(const SpmModel& spm) {
  byte_fallback_ = spm.byte_fallback;
  for (int byte = 0; byte < 256 && byte_fallback_; ++byte) {
    const std::string text = absl::StrFormat("<0x%02X>", byte);
    const auto it = reserved_.find(text);
    if (it == reserved_.end()) {
      return ModelMalformed(absl::StrCat(
          "tokenizer.model: falls back to bytes, but has no piece ", text));
    }
    bytes_[byte] = it->second;
  }
  return absl::OkStatus();
}

// Ranks in the order of falling scores; equal scores have one.
void SpmBpe::RankScores(const SpmModel& spm) {
  std::vector<float> scores;
  for (const SpmPiece& piece : spm.pieces) scores.push_back(piece.score);
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  for (const SpmPiece& piece : spm.pieces) {
    const auto it = std::lower_bound(scores.begin(), scores.end(), piece.score,
                                     std::greater<>());
    ranks_.push_back(static_cast<int32_t>(it - scores.begin()));
  }
}

std::vector<Symbol> SpmBpe::SymbolsOf(absl::string_view part) const {
  std::vector<Symbol> symbols;
  const auto add = [&](int32_t id, int64_t begin, int64_t end) {
    symbols.push_back({.id = id,
                       .begin = static_cast<int32_t>(begin),
                       .size = static_cast<int32_t>(end - begin)});
  };
  int64_t at = 0;
  const auto add_characters = [&](int64_t end) {
    while (at < end) {
      const auto bytes =
          static_cast<int64_t>(FirstCodePoint(part.substr(at)).bytes);
      add(kNoPiece, at, at + bytes);
      at += bytes;
    }
  };
  matcher_.FindAll(part, [&](int64_t begin, int64_t end, int32_t) {
    add_characters(begin);
    add(kFrozen, begin, end);
    at = end;
  });
  add_characters(static_cast<int64_t>(part.size()));
  return symbols;
}

void SpmBpe::Encode(absl::string_view part, Encoding& out) const {
  std::vector<Symbol> symbols = SymbolsOf(part);
  const auto lookup = [&](const Symbol& left,
                          const Symbol& right) -> std::optional<MergeResult> {
    if (left.id == kFrozen || right.id == kFrozen) return std::nullopt;
    const auto it =
        pieces_.find(part.substr(left.begin, left.size + right.size));
    if (it == pieces_.end()) return std::nullopt;
    return MergeResult{ranks_[it->second], it->second};
  };
  Merger(symbols, lookup).Run();
  bool after_unknown = false;
  for (const Symbol& symbol : symbols) {
    if (symbol.size == 0) continue;
    AddIds(part.substr(symbol.begin, symbol.size), after_unknown, out);
  }
}

void SpmBpe::AddIds(absl::string_view text, bool& after_unknown,
                    Encoding& out) const {
  auto it = reserved_.find(text);
  bool known = it != reserved_.end();
  if (!known) {
    it = pieces_.find(text);
    known = it != pieces_.end();
  }
  const int32_t id = known ? it->second : unk_;
  if (id == unk_ && byte_fallback_) {
    for (char byte : text)
      out.ids.push_back(bytes_[static_cast<uint8_t>(byte)]);
    after_unknown = false;
    return;
  }
  // A run of unknown characters is one token.
  if (id != unk_ || !after_unknown) out.ids.push_back(id);
  if (id == unk_) ++out.unknown;
  after_unknown = id == unk_;
}

class SpmSpaces final : public Normalizer {
 public:
  SpmSpaces(bool prefix, bool removes_extra, bool escapes)
      : prefix_(prefix), removes_extra_(removes_extra), escapes_(escapes) {}

  absl::Status Apply(Segment& segment) const override {
    absl::string_view text = segment.text;
    if (removes_extra_) {
      while (absl::ConsumePrefix(&text, " ")) continue;
      while (absl::ConsumeSuffix(&text, " ")) continue;
    }
    if (text.empty()) {
      segment.text.clear();
      return absl::OkStatus();
    }
    const absl::string_view sign = escapes_ ? kSpaceSign : " ";
    std::string out(prefix_ ? sign : "");
    bool after_space = false;
    for (char c : text) {
      if (c != ' ') {
        out += c;
      } else if (!after_space || !removes_extra_) {
        out.append(sign.data(), sign.size());
      }
      after_space = c == ' ';
    }
    segment.text = std::move(out);
    return absl::OkStatus();
  }

 private:
  bool prefix_, removes_extra_, escapes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TokenModel>> MakeSpmModel(const SpmModel& spm) {
  return SpmBpe::Make(spm);
}

absl::StatusOr<std::unique_ptr<Normalizer>> MakeSpmNormalizer(
    const SpmModel& spm) {
  if (spm.has_rules) {
    return Unsupported(absl::StrCat("rewrites characters by the rules ",
                                    QuotedName(spm.normalizer),
                                    "; \"identity\" is supported"));
  }
  if (spm.space_is_suffix) {
    return Unsupported("writes a space after a word; before it is supported");
  }
  return std::make_unique<SpmSpaces>(spm.add_dummy_prefix,
                                     spm.remove_extra_whitespaces,
                                     spm.escape_whitespaces);
}

}  // namespace quant

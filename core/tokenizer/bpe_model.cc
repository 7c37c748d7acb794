#include "core/tokenizer/bpe_model.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"
#include "core/tokenizer/merge.h"
#include "core/tokenizer/unicode.h"

namespace quant {
namespace {

// Ids of characters below are in a table.
constexpr char32_t kTableEnd = 0x3000;

uint64_t PairKey(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 |
         static_cast<uint32_t>(right);
}

class BpeModel final : public TokenModel {
 public:
  static absl::StatusOr<std::unique_ptr<TokenModel>> Make(
      const TokenizerJson& json);

  void Encode(absl::string_view part, Encoding& out) const override;
  bool cuts() const override { return cuts_; }
  const std::vector<std::string>& tokens() const override { return tokens_; }

 private:
  absl::Status AddTokens(const TokenizerJson& json);
  absl::Status AddMerges(const TokenizerJson& json);
  void FindCharacters();

  int32_t Find(absl::string_view text) const {
    const auto it = ids_.find(text);
    return it == ids_.end() ? -1 : it->second;
  }
  int32_t FindCharacter(absl::string_view bytes, char32_t value) const {
    return value < kTableEnd ? characters_[value] : Find(bytes);
  }
  // The id of the character at [begin, end) of a part of `part_size` bytes.
  int32_t IdAt(absl::string_view part, size_t begin, CodePoint c) const;
  bool SymbolsOf(absl::string_view part, std::vector<Symbol>& symbols,
                 Encoding& out) const;

  std::vector<std::string> tokens_;  // by id
  absl::flat_hash_map<std::string, int32_t> ids_;
  absl::flat_hash_map<uint64_t, MergeResult> merges_;
  std::vector<int32_t> characters_;
  std::array<int32_t, 256> bytes_;  // "<0x0A>"; used when all are there
  bool byte_fallback_ = false;
  bool fuse_unk_ = false;
  bool ignore_merges_ = false;
  bool cuts_ = false;
  int32_t unk_ = -1;
  std::string prefix_, suffix_;
};

absl::StatusOr<std::unique_ptr<TokenModel>> BpeModel::Make(
    const TokenizerJson& json) {
  if (json.has_dropout) {
    return MakeError(absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
                     "model.dropout: merges at random are not supported; null "
                     "or 0 is");
  }
  if (json.byte_fallback && !(json.continuing_subword_prefix.empty() &&
                              json.end_of_word_suffix.empty())) {
    return MakeError(absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
                     "model.byte_fallback with a prefix or suffix of words is "
                     "not supported; without is");
  }
  auto model = std::make_unique<BpeModel>();
  model->fuse_unk_ = json.fuse_unk;
  model->ignore_merges_ = json.ignore_merges;
  model->byte_fallback_ = json.byte_fallback;
  model->prefix_ = json.continuing_subword_prefix;
  model->suffix_ = json.end_of_word_suffix;
  QUANT_RETURN_IF_ERROR(model->AddTokens(json));
  QUANT_RETURN_IF_ERROR(model->AddMerges(json));
  model->FindCharacters();
  if (!json.unk_token.empty()) {
    model->unk_ = model->Find(json.unk_token);
    if (model->unk_ < 0) {
      return ModelMalformed(absl::StrCat("the unknown token ",
                                         QuotedName(json.unk_token),
                                         " is not in the vocabulary"));
    }
  }
  model->cuts_ = !json.ignore_merges && model->prefix_.empty() &&
                 model->suffix_.empty() && MayCutBeforeSpaces(model->tokens_);
  return std::unique_ptr<TokenModel>(std::move(model));
}

absl::Status BpeModel::AddTokens(const TokenizerJson& json) {
  int64_t end = 0;
  for (const VocabEntry& entry : json.vocab) end = std::max(end, entry.id + 1);
  tokens_.resize(end);
  ids_.reserve(json.vocab.size());
  for (const VocabEntry& entry : json.vocab) {
    tokens_[entry.id] = entry.text;
    if (!ids_.emplace(entry.text, static_cast<int32_t>(entry.id)).second) {
      return ModelMalformed(absl::StrCat("token ", QuotedName(entry.text),
                                         " is in the vocabulary twice"));
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    bytes_[byte] = Find(absl::StrFormat("<0x%02X>", byte));
  }
  return absl::OkStatus();
}

absl::Status BpeModel::AddMerges(const TokenizerJson& json) {
  merges_.reserve(json.merges.size());
  for (size_t rank = 0; rank < json.merges.size(); ++rank) {
    const absl::string_view merge = json.merges[rank];
    const size_t space = merge.find(' ');
    const absl::string_view left = merge.substr(0, space);
    const absl::string_view right = merge.substr(space + 1);
    if (right.size() < prefix_.size()) {
      return ModelMalformed(absl::StrCat("the merge ", QuotedName(merge),
                                         " has no prefix to leave out"));
    }
    const int32_t ids[] = {
        Find(left), Find(right),
        Find(absl::StrCat(left, right.substr(prefix_.size())))};
    if (std::min({ids[0], ids[1], ids[2]}) < 0) {
      return ModelMalformed(
          absl::StrCat("the merge ", QuotedName(merge),
                       " takes or makes a token that is not in the "
                       "vocabulary"));
    }
    merges_[PairKey(ids[0], ids[1])] = {static_cast<int32_t>(rank), ids[2]};
  }
  return absl::OkStatus();
}

void BpeModel::FindCharacters() {
  characters_.assign(kTableEnd, -1);
  for (char32_t c = 0; c < kTableEnd; ++c) {
    std::string bytes;
    AppendUtf8(c, bytes);
    characters_[c] = Find(bytes);
  }
}

int32_t BpeModel::IdAt(absl::string_view part, size_t begin,
                       CodePoint c) const {
  const absl::string_view bytes = part.substr(begin, c.bytes);
  const bool inner = begin > 0 && !prefix_.empty();
  const bool last = begin + c.bytes == part.size() && !suffix_.empty();
  if (!inner && !last) return FindCharacter(bytes, c.value);
  return Find(absl::StrCat(inner ? prefix_ : "", bytes, last ? suffix_ : ""));
}

// Answers whether symbols may merge, which one alone can't.
bool BpeModel::SymbolsOf(absl::string_view part, std::vector<Symbol>& symbols,
                         Encoding& out) const {
  symbols.clear();
  const auto add = [&](int32_t id, size_t begin, size_t size) {
    symbols.push_back({.id = id,
                       .begin = static_cast<int32_t>(begin),
                       .size = static_cast<int32_t>(size)});
  };
  std::optional<Symbol> unknown;
  const auto flush = [&] {
    if (unknown) symbols.push_back(*unknown);
    unknown.reset();
  };
  for (size_t at = 0; at < part.size();) {
    const CodePoint c = FirstCodePoint(part.substr(at));
    const int32_t id = IdAt(part, at, c);
    const absl::string_view bytes = part.substr(at, c.bytes);
    at += c.bytes;
    if (id >= 0) {
      flush();
      add(id, at - c.bytes, c.bytes);
      continue;
    }
    const bool falls_back =
        byte_fallback_ && std::all_of(bytes.begin(), bytes.end(), [&](char b) {
          return bytes_[static_cast<uint8_t>(b)] >= 0;
        });
    if (falls_back) {
      // Before an unknown character that waits, as the library has it.
      for (char b : bytes) add(bytes_[static_cast<uint8_t>(b)], at, 1);
      continue;
    }
    ++out.unknown;
    if (unk_ < 0) continue;
    if (!fuse_unk_) flush();
    if (!unknown) unknown = Symbol{.id = unk_};
    unknown->size += static_cast<int32_t>(c.bytes);
  }
  flush();
  return symbols.size() > 1;
}

void BpeModel::Encode(absl::string_view part, Encoding& out) const {
  if (ignore_merges_) {
    if (const int32_t id = Find(part); id >= 0) {
      out.ids.push_back(id);
      return;
    }
  }
  std::vector<Symbol> symbols;
  if (SymbolsOf(part, symbols, out)) {
    const auto lookup = [this](
                            const Symbol& left,
                            const Symbol& right) -> std::optional<MergeResult> {
      const auto it = merges_.find(PairKey(left.id, right.id));
      if (it == merges_.end()) return std::nullopt;
      return it->second;
    };
    Merger(symbols, lookup).Run();
  }
  for (const Symbol& symbol : symbols) {
    if (symbol.size > 0) out.ids.push_back(symbol.id);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<TokenModel>> MakeBpeModel(
    const TokenizerJson& json) {
  return BpeModel::Make(json);
}

}  // namespace quant

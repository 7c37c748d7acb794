#include "core/architecture/gguf_tokenizer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/architecture/vocabulary.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"

namespace quant {
namespace {

constexpr char kPrefix[] = "tokenizer.ggml.";
// SentencePiece's spelling of a space.
constexpr char kSpaceSign[] = "\u2581";

// What loaders take for a SentencePiece vocabulary that doesn't say.
constexpr int64_t kSpmUnk = 0, kSpmBos = 1, kSpmEos = 2;

std::string Key(absl::string_view name) { return absl::StrCat(kPrefix, name); }

absl::Status WrongCount(absl::string_view key, size_t found, size_t tokens) {
  return ModelMalformed(absl::StrCat("key ", Key(key), ": has ", found,
                                     " elements; there are ", tokens,
                                     " tokens"));
}

class Reader {
 public:
  explicit Reader(absl::Span<const GgufKv> kvs) : kvs_(kvs) {}

  absl::StatusOr<std::optional<GgufTokenizer>> Read(std::string& why) {
    QUANT_ASSIGN_OR_RETURN(const std::string* model,
                           FindGguf<std::string>(kvs_, Key("model")));
    QUANT_ASSIGN_OR_RETURN(const std::vector<std::string>* tokens,
                           FindGgufArray<std::string>(kvs_, Key("tokens")));
    if (model == nullptr || tokens == nullptr) {
      why = "the file has no tokenizer";
      return std::optional<GgufTokenizer>();
    }
    if (*model != "gpt2" && *model != "llama") {
      why = absl::StrCat("its tokenizer is ", QuotedName(*model),
                         "; \"gpt2\" and \"llama\" are read");
      return std::optional<GgufTokenizer>();
    }
    out_.byte_level = *model == "gpt2";
    out_.tokens = *tokens;
    QUANT_RETURN_IF_ERROR(CheckTokens());
    QUANT_RETURN_IF_ERROR(ReadLists());
    QUANT_RETURN_IF_ERROR(ReadIds());
    QUANT_RETURN_IF_ERROR(ReadTypes());
    QUANT_RETURN_IF_ERROR(ReadFlags());
    QUANT_RETURN_IF_ERROR(ReadTemplates());
    ListUnread();
    return std::optional<GgufTokenizer>(std::move(out_));
  }

 private:
  size_t count() const { return out_.tokens.size(); }

  absl::Status CheckTokens() const {
    if (count() == 0 || static_cast<int64_t>(count()) > kMaxTokens) {
      return ModelMalformed(absl::StrCat("key ", Key("tokens"), ": has ",
                                         count(), " elements; 1 to ",
                                         kMaxTokens, " are allowed"));
    }
    for (size_t i = 0; i < count(); ++i) {
      if (static_cast<int64_t>(out_.tokens[i].size()) <= kMaxTokenBytes &&
          IsUtf8(out_.tokens[i])) {
        continue;
      }
      return ModelMalformed(absl::StrCat(
          "token ", i, ": is not UTF-8 of at most ", kMaxTokenBytes, " bytes"));
    }
    std::vector<int32_t> order(count());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return out_.tokens[a] < out_.tokens[b];
    });
    for (size_t i = 1; i < count(); ++i) {
      if (out_.tokens[order[i]] != out_.tokens[order[i - 1]]) continue;
      return ModelMalformed(
          absl::StrCat("token ", QuotedName(out_.tokens[order[i]]),
                       " has the ids ", order[i - 1], " and ", order[i]));
    }
    return absl::OkStatus();
  }

  absl::Status ReadLists() {
    QUANT_ASSIGN_OR_RETURN(const std::string* pre,
                           FindGguf<std::string>(kvs_, Key("pre")));
    if (pre != nullptr) out_.pre = *pre;
    if (out_.byte_level) {
      QUANT_ASSIGN_OR_RETURN(const std::vector<std::string>* merges,
                             GetGgufArray<std::string>(kvs_, Key("merges")));
      out_.merges = *merges;
      return CheckMerges();
    }
    QUANT_ASSIGN_OR_RETURN(const std::vector<float>* scores,
                           GetGgufArray<float>(kvs_, Key("scores")));
    if (scores->size() != count()) {
      return WrongCount("scores", scores->size(), count());
    }
    for (float score : *scores) {
      if (std::isfinite(score)) continue;
      return ModelMalformed(
          absl::StrCat("key ", Key("scores"), ": has one that is not finite"));
    }
    out_.scores = *scores;
    return absl::OkStatus();
  }

  absl::Status CheckMerges() const {
    if (static_cast<int64_t>(out_.merges.size()) > kMaxMerges) {
      return ModelMalformed(absl::StrCat("key ", Key("merges"), ": has ",
                                         out_.merges.size(),
                                         " elements; at most ", kMaxMerges));
    }
    for (const std::string& merge : out_.merges) {
      const size_t space = merge.find(' ');
      if (space != 0 && space != std::string::npos &&
          space + 1 < merge.size() &&
          merge.find(' ', space + 1) == std::string::npos && IsUtf8(merge) &&
          static_cast<int64_t>(merge.size()) <= 2 * kMaxTokenBytes) {
        continue;
      }
      return ModelMalformed(absl::StrCat("the merge ", QuotedName(merge),
                                         " is not \"left right\""));
    }
    return absl::OkStatus();
  }

  absl::Status ReadIds() {
    const std::pair<absl::string_view, int64_t*> ids[] = {
        {"bos", &out_.bos},     {"eos", &out_.eos},
        {"unknown", &out_.unk}, {"seperator", &out_.sep},
        {"padding", &out_.pad}, {"cls", &out_.cls},
        {"mask", &out_.mask}};
    if (!out_.byte_level) {
      out_.unk = kSpmUnk;
      out_.bos = kSpmBos;
      out_.eos = kSpmEos;
    }
    for (const auto& [name, id] : ids) {
      QUANT_ASSIGN_OR_RETURN(
          const uint32_t* found,
          FindGguf<uint32_t>(kvs_, Key(absl::StrCat(name, "_token_id"))));
      if (found != nullptr) *id = *found;
      // Loaders take an id beyond the tokens for none.
      if (*id >= static_cast<int64_t>(count())) *id = -1;
    }
    return absl::OkStatus();
  }

  absl::Status ReadTypes() {
    out_.types.assign(count(), TokenType::kNormal);
    QUANT_ASSIGN_OR_RETURN(const std::vector<int32_t>* types,
                           FindGgufArray<int32_t>(kvs_, Key("token_type")));
    if (types == nullptr) {
      GuessTypes();
      return absl::OkStatus();
    }
    if (types->size() != count()) {
      return WrongCount("token_type", types->size(), count());
    }
    for (size_t i = 0; i < count(); ++i) {
      // Loaders take what they don't know for nothing in particular.
      const int32_t type = (*types)[i];
      if (type >= 1 && type <= 6) out_.types[i] = static_cast<TokenType>(type);
    }
    return absl::OkStatus();
  }

  void GuessTypes() {
    for (size_t i = 0; i < count() && !out_.byte_level; ++i) {
      if (IsByteToken(out_.tokens[i])) out_.types[i] = TokenType::kByte;
    }
    for (int64_t id : {out_.bos, out_.eos, out_.pad}) {
      if (id >= 0) out_.types[id] = TokenType::kControl;
    }
    if (out_.unk >= 0 && !out_.byte_level) {
      out_.types[out_.unk] = TokenType::kUnknown;
    }
  }

  // Loaders put a token before the text of SentencePiece models, and of two
  // kinds of byte-level ones.
  absl::Status ReadFlags() {
    out_.add_bos =
        !out_.byte_level || out_.pre == "llama-bpe" || out_.pre == "tekken";
    out_.add_space_prefix = !out_.byte_level;
    const std::pair<absl::string_view, bool*> flags[] = {
        {"add_bos_token", &out_.add_bos},
        {"add_eos_token", &out_.add_eos},
        {"add_space_prefix", &out_.add_space_prefix}};
    for (const auto& [name, flag] : flags) {
      QUANT_ASSIGN_OR_RETURN(const bool* found,
                             FindGguf<bool>(kvs_, Key(name)));
      if (found != nullptr) *flag = *found;
    }
    return absl::OkStatus();
  }

  absl::Status ReadTemplates() {
    constexpr absl::string_view kTemplate = "tokenizer.chat_template";
    for (const GgufKv& kv : kvs_) {
      absl::string_view name = kv.key;
      if (!absl::ConsumePrefix(&name, kTemplate)) continue;
      if (!name.empty() && name[0] != '.') continue;
      QUANT_ASSIGN_OR_RETURN(const std::string* text,
                             FindGguf<std::string>(kvs_, kv.key));
      if (!IsUtf8(*text) || !IsUtf8(name) ||
          static_cast<int64_t>(text->size()) > kMaxChatTemplateBytes ||
          static_cast<int64_t>(out_.chat_templates.size()) >=
              kMaxChatTemplates) {
        return ModelMalformed(
            absl::StrCat("key ", QuotedName(kv.key), ": is no text of at most ",
                         kMaxChatTemplateBytes, " bytes, or one of more than ",
                         kMaxChatTemplates));
      }
      out_.chat_templates.emplace_back(
          name.empty() ? "default" : std::string(name.substr(1)), *text);
    }
    return absl::OkStatus();
  }

  void ListUnread() {
    static constexpr absl::string_view kRead[] = {"model",
                                                  "pre",
                                                  "tokens",
                                                  "scores",
                                                  "token_type",
                                                  "merges",
                                                  "bos_token_id",
                                                  "eos_token_id",
                                                  "unknown_token_id",
                                                  "seperator_token_id",
                                                  "padding_token_id",
                                                  "cls_token_id",
                                                  "mask_token_id",
                                                  "add_bos_token",
                                                  "add_eos_token",
                                                  "add_space_prefix"};
    for (const GgufKv& kv : kvs_) {
      absl::string_view name = kv.key;
      if (!absl::ConsumePrefix(&name, kPrefix)) continue;
      if (std::find(std::begin(kRead), std::end(kRead), name) ==
          std::end(kRead)) {
        out_.unread.push_back(kv.key);
      }
    }
  }

  absl::Span<const GgufKv> kvs_;
  GgufTokenizer out_;
};

}  // namespace

bool GgufTokenizer::IsFiller(int64_t id) const {
  return types[id] == TokenType::kUnused &&
         tokens[id] == absl::StrCat("[PAD", id, "]");
}

bool GgufTokenizer::IsMerged(int64_t id) const {
  if (types[id] == TokenType::kNormal) return true;
  return types[id] == TokenType::kUserDefined && !byte_level &&
         absl::StrContains(tokens[id], kSpaceSign);
}

absl::StatusOr<std::optional<GgufTokenizer>> ReadGgufTokenizer(
    absl::Span<const GgufKv> kvs, std::string& why) {
  return Reader(kvs).Read(why);
}

}  // namespace quant

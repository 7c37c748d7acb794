// How a tokenizer is made of a checkpoint's files.
#include <algorithm>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "core/architecture/pre_tokenizers.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/text_limits.h"
#include "core/container/json_events.h"
#include "core/container/model_reader.h"
#include "core/container/side_files.h"
#include "core/tokenizer/bpe_model.h"
#include "core/tokenizer/spm_tokenizer.h"
#include "core/tokenizer/tokenizer.h"

namespace quant {
namespace {

using Json = nlohmann::json;

// The text of "bos_token": a string, or an object with its content.
std::string TokenName(const Json& config, const char* key) {
  auto it = config.find(key);
  if (it == config.end()) return "";
  if (it->is_object()) {
    const auto content = it->find("content");
    return content != it->end() && content->is_string()
               ? content->get<std::string>()
               : "";
  }
  return it->is_string() ? it->get<std::string>() : "";
}

// "add_bos_token", when it is there.
std::optional<bool> Wish(const Json& config, const char* key) {
  const auto it = config.find(key);
  if (it == config.end() || !it->is_boolean()) return std::nullopt;
  return it->get<bool>();
}

// Puts the token into its side of the frame, or takes it out; more than one
// token there is left as it is.
absl::Status Apply(std::optional<bool> wish, absl::string_view kind, int32_t id,
                   std::vector<int32_t>& side) {
  if (!wish || side.size() > 1) return absl::OkStatus();
  if (!*wish) {
    if (side == std::vector<int32_t>{id}) side.clear();
    return absl::OkStatus();
  }
  if (!side.empty()) return absl::OkStatus();
  if (id < 0) {
    return ModelMalformed(absl::StrCat("tokenizer_config.json: add_", kind,
                                       "_token is true, but no token is named "
                                       "that the vocabulary has"));
  }
  side.push_back(id);
  return absl::OkStatus();
}

absl::StatusOr<TokenizerTexts> TextsAt(const std::string& path) {
  if (!IsDirectory(path)) {
    QUANT_ASSIGN_OR_RETURN(const auto model, OpenModel(path));
    return ReadTokenizerTexts(*model);
  }
  QUANT_ASSIGN_OR_RETURN(const std::string resolved, ResolvePath(path));
  QUANT_ASSIGN_OR_RETURN(const auto entries, ListDirectory(resolved));
  QUANT_ASSIGN_OR_RETURN(const auto files, FindSideFiles(resolved, entries));
  return ReadTokenizerTexts(files);
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> MakeNamed(
    const TokenizerTexts& texts, const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(const TokenizerFiles files,
                         ParseTokenizerFiles(texts));
  auto tokenizer = Tokenizer::Make(files);
  return tokenizer.ok() ? std::move(tokenizer)
                        : Annotate(tokenizer.status(), path);
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Make(
    const TokenizerFiles& files) {
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer());
  if (files.json) {
    const absl::Status status = tokenizer->UseJson(files);
    if (!status.ok()) return Annotate(status, "tokenizer.json");
  } else if (files.spm) {
    QUANT_RETURN_IF_ERROR(tokenizer->UseSpm(files));
  } else {
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     Reason::kSourceMissing,
                     "the model has neither tokenizer.json nor "
                     "tokenizer.model; token ids can be given instead of text");
  }
  QUANT_RETURN_IF_ERROR(tokenizer->SetFrame(files));
  return std::unique_ptr<const Tokenizer>(std::move(tokenizer));
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Open(
    const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(const TokenizerTexts texts, TextsAt(path));
  return MakeNamed(texts, path);
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Of(
    const ModelReader& model) {
  QUANT_ASSIGN_OR_RETURN(const TokenizerTexts texts, ReadTokenizerTexts(model));
  return MakeNamed(texts, model.path());
}

absl::Status Tokenizer::UseJson(const TokenizerFiles& files) {
  const TokenizerJson& json = *files.json;
  QUANT_ASSIGN_OR_RETURN(normalizers_, MakeNormalizers(json.normalizer));
  QUANT_ASSIGN_OR_RETURN(pre_tokenizers_,
                         MakePreTokenizers(json.pre_tokenizer));
  QUANT_ASSIGN_OR_RETURN(model_, MakeBpeModel(json));
  QUANT_ASSIGN_OR_RETURN(frame_, ParsePostProcessor(json.post_processor));
  if (IsByteLevel(json)) spelling_ = Spelling::kBytes;
  return AddTokens(json.added);
}

absl::Status Tokenizer::UseSpm(const TokenizerFiles& files) {
  QUANT_ASSIGN_OR_RETURN(auto spaces, MakeSpmNormalizer(*files.spm));
  normalizers_.push_back(std::move(spaces));
  QUANT_ASSIGN_OR_RETURN(model_, MakeSpmModel(*files.spm));
  std::vector<AddedToken> added = files.added;
  for (AddedToken& token : added) token.normalized = false;
  return AddTokens(added);
}

absl::Status Tokenizer::AddTokens(absl::Span<const AddedToken> tokens) {
  std::vector<AddedToken> raw, normalized;
  std::vector<std::string> raw_texts, normalized_texts;
  absl::flat_hash_map<std::string, int64_t> ids;
  for (size_t id = 0; id < model_->tokens().size(); ++id) {
    if (!model_->tokens()[id].empty()) {
      ids.emplace(model_->tokens()[id], static_cast<int64_t>(id));
    }
  }
  vocabulary_ = static_cast<int64_t>(model_->tokens().size());
  absl::flat_hash_set<std::string> seen;
  int64_t bytes = 0;
  for (const AddedToken& token : tokens) {
    if (token.content.empty() || !seen.insert(token.content).second) continue;
    const auto [it, is_new] = ids.emplace(token.content, token.id);
    if (!is_new && it->second != token.id) {
      return ModelMalformed(
          absl::StrCat("added token ", QuotedName(token.content), " has id ",
                       token.id, ", but ", it->second, " in the vocabulary"));
    }
    bytes += static_cast<int64_t>(token.content.size());
    if (bytes > kMaxAddedTokenBytes) {
      return ModelMalformed(absl::StrCat("added tokens of more than ",
                                         kMaxAddedTokenBytes, " bytes"));
    }
    added_[static_cast<int32_t>(token.id)] = token.content;
    vocabulary_ = std::max(vocabulary_, token.id + 1);
    Segment segment = {token.content, false};
    if (token.normalized) QUANT_RETURN_IF_ERROR(Normalize(segment));
    if (segment.text.empty()) continue;
    (token.normalized ? normalized : raw).push_back(token);
    (token.normalized ? normalized_texts : raw_texts)
        .push_back(std::move(segment.text));
  }
  QUANT_ASSIGN_OR_RETURN(raw_, AddedTokens::Make(raw, std::move(raw_texts)));
  QUANT_ASSIGN_OR_RETURN(
      normalized_, AddedTokens::Make(normalized, std::move(normalized_texts)));
  return absl::OkStatus();
}

int32_t Tokenizer::Find(absl::string_view token) const {
  if (token.empty()) return -1;
  for (const auto& [id, content] : added_) {
    if (content == token) return id;
  }
  const std::vector<std::string>& tokens = model_->tokens();
  const auto it = std::find(tokens.begin(), tokens.end(), token);
  return it == tokens.end() ? -1 : static_cast<int32_t>(it - tokens.begin());
}

absl::Status Tokenizer::SetFrame(const TokenizerFiles& files) {
  std::optional<bool> add_bos = Wish(files.config, "add_bos_token");
  const std::optional<bool> add_eos = Wish(files.config, "add_eos_token");
  bos_ = Find(TokenName(files.config, "bos_token"));
  int32_t eos = Find(TokenName(files.config, "eos_token"));
  if (!files.json) {
    // What the classes of SentencePiece models do when nobody says.
    if (!add_bos && files.spm->bos >= 0) add_bos = true;
    if (bos_ < 0) bos_ = static_cast<int32_t>(files.spm->bos);
    if (eos < 0) eos = static_cast<int32_t>(files.spm->eos);
  }
  if (bos_ >= vocabulary_) bos_ = -1;
  if (eos >= vocabulary_) eos = -1;
  if (bos_ < 0 && frame_.before.size() == 1) bos_ = frame_.before[0];
  QUANT_RETURN_IF_ERROR(Apply(add_bos, "bos", bos_, frame_.before));
  QUANT_RETURN_IF_ERROR(Apply(add_eos, "eos", eos, frame_.after));
  for (const auto* side : {&frame_.before, &frame_.after}) {
    for (int32_t id : *side) {
      if (id < vocabulary_) continue;
      return ModelMalformed(absl::StrCat("post-processor: id ", id,
                                         " is beyond the vocabulary of ",
                                         vocabulary_));
    }
  }
  return absl::OkStatus();
}

}  // namespace quant

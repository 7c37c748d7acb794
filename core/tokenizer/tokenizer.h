// Text to the ids that a model was trained on, by the files of its checkpoint:
// tokenizer.json as the tokenizers library reads it, or else tokenizer.model as
// SentencePiece does.
//
// Text is UTF-8; what is not is refused, never mended. Nothing is truncated or
// padded, whatever tokenizer.json says of that.
#ifndef QUANT_CORE_TOKENIZER_TOKENIZER_H_
#define QUANT_CORE_TOKENIZER_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/architecture/tokenizer_files.h"
#include "core/tokenizer/added_tokens.h"
#include "core/tokenizer/model.h"
#include "core/tokenizer/normalizer.h"
#include "core/tokenizer/post_processor.h"
#include "core/tokenizer/pre_tokenizer.h"

namespace quant {

// Immutable; may be used by many threads.
class Tokenizer {
 public:
  // FAILED_PRECONDITION SOURCE_MISSING without such files; INVALID_ARGUMENT
  // UNSUPPORTED, with the name and the nearest, for parts that are not done;
  // DATA_LOSS MODEL_MALFORMED for broken files.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Make(
      const TokenizerFiles& files);
  // Of a directory, with weights or without, or of the files beside a weight
  // file.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Open(
      const std::string& path);
  // Of a model whose files are known already.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Of(
      const ModelReader& model);

  // The ids of `text`, without what belongs before and after it (frame()).
  // INVALID_ARGUMENT with the offset for what is not UTF-8; RESOURCE_EXHAUSTED
  // for more than kMaxDocumentBytes.
  absl::StatusOr<Encoding> Encode(absl::string_view text) const;

  // The tokens that belong before and after every text.
  const Frame& frame() const { return frame_; }
  // The token that begins a text; -1 when no file names one.
  int32_t bos() const { return bos_; }
  // One more than the greatest id.
  int64_t vocabulary() const { return vocabulary_; }
  // The bytes that the token stands for in a text; empty for no token.
  std::string TextOf(int32_t id) const;

 private:
  enum class Spelling { kBytes, kSpaceSigns };

  Tokenizer() = default;
  absl::Status UseJson(const TokenizerFiles& files);
  absl::Status UseSpm(const TokenizerFiles& files);
  absl::Status AddTokens(absl::Span<const AddedToken> tokens);
  absl::Status SetFrame(const TokenizerFiles& files);
  int32_t Find(absl::string_view token) const;
  absl::Status Normalize(Segment& segment) const;
  absl::Status EncodeSegment(const Segment& segment, Encoding& out) const;
  void EncodePieces(const CutText& pieces, Encoding& out) const;

  std::vector<std::unique_ptr<Normalizer>> normalizers_;
  std::vector<std::unique_ptr<PreTokenizer>> pre_tokenizers_;
  std::unique_ptr<TokenModel> model_;
  AddedTokens raw_;         // sought in the text as it is
  AddedTokens normalized_;  // ... in what normalizers make of it
  absl::flat_hash_map<int32_t, std::string> added_;
  Frame frame_;
  Spelling spelling_ = Spelling::kSpaceSigns;
  int32_t bos_ = -1;
  int64_t vocabulary_ = 0;
};

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_TOKENIZER_H_

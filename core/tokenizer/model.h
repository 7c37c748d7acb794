// What turns a piece of text into ids, when all else is done.
#ifndef QUANT_CORE_TOKENIZER_MODEL_H_
#define QUANT_CORE_TOKENIZER_MODEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quant {

struct Encoding {
  std::vector<int32_t> ids;
  // Characters that no token stands for: ids of the unknown token, and
  // characters that were left out for want of one.
  int64_t unknown = 0;
};

// Immutable; may be used by many threads.
class TokenModel {
 public:
  virtual ~TokenModel() = default;

  // Appends the ids of a piece: UTF-8, not empty, at most kMaxNormalizedBytes.
  virtual void Encode(absl::string_view part, Encoding& out) const = 0;
  // Whether the parts of a piece that CutEnd makes have the ids of the whole.
  virtual bool cuts() const = 0;
  // The text of every id; empty where there is none.
  virtual const std::vector<std::string>& tokens() const = 0;
};

// SentencePiece's spelling of a space.
inline constexpr char kSpaceSign[] = "\u2581";

// Whether every token that holds the space sign holds it at its beginning, in
// one run, and the sign is a token itself. No merge then crosses the place
// before a sign that follows something else.
bool MayCutBeforeSpaces(const std::vector<std::string>& tokens);

// The end of the part of `piece`, which is not empty, before its second run of
// space signs.
size_t CutEnd(absl::string_view piece);

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_MODEL_H_

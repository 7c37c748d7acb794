// A text on its way to a model: cut into pieces, each of which is tokenized by
// itself.
#ifndef QUANT_CORE_TOKENIZER_CUT_TEXT_H_
#define QUANT_CORE_TOKENIZER_CUT_TEXT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace quant {

struct Piece {
  int64_t begin = 0, end = 0;  // in CutText::text; not empty
  // Whether it begins with the first character of the text as it was given.
  bool first = false;
};

struct CutText {
  std::string text;  // UTF-8
  std::vector<Piece> pieces;

  absl::string_view Of(const Piece& piece) const {
    return absl::string_view(text).substr(piece.begin, piece.end - piece.begin);
  }
};

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_CUT_TEXT_H_

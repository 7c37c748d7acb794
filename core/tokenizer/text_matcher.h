// Finds any of many texts in a text, the leftmost and of those the longest
// first, in time linear in the text.
//
// An Aho-Corasick automaton (Aho, Corasick 1975) of the reversed texts runs
// over the reversed input: where it stands after a character, the longest of
// its texts that ends there is the longest that begins there in the input.
#ifndef QUANT_CORE_TOKENIZER_TEXT_MATCHER_H_
#define QUANT_CORE_TOKENIZER_TEXT_MATCHER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace quant {

class TextMatcher {
 public:
  TextMatcher() = default;
  // Texts are not empty; of equal ones the first counts.
  explicit TextMatcher(const std::vector<std::string>& texts);

  bool empty() const { return nodes_.empty(); }

  // Calls `found` with matches that do not overlap, from left to right; `index`
  // of the constructor's texts.
  void FindAll(
      absl::string_view text,
      absl::FunctionRef<void(int64_t begin, int64_t end, int32_t index)> found)
      const;

 private:
  struct Node {
    int32_t first_edge = 0, edge_count = 0;  // sorted by byte
    int32_t fail = 0;
    int32_t text = -1;  // the longest that ends here
  };
  struct Edge {
    uint8_t byte = 0;
    int32_t target = 0;
  };

  void Build(const std::vector<std::string>& texts);
  void Link();
  int32_t Child(int32_t node, uint8_t byte) const;  // -1: none
  int32_t Step(int32_t node, uint8_t byte) const;

  std::vector<Node> nodes_;  // by depth, the root first
  std::vector<Edge> edges_;
  std::vector<int32_t> lengths_;  // of the texts
};

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_TEXT_MATCHER_H_

#include "core/tokenizer/text_matcher.h"

#include <algorithm>
#include <numeric>

namespace quant {
namespace {

// The i-th byte from the end.
uint8_t FromEnd(const std::string& text, size_t i) {
  return static_cast<uint8_t>(text[text.size() - 1 - i]);
}

}  // namespace

TextMatcher::TextMatcher(const std::vector<std::string>& texts) {
  lengths_.reserve(texts.size());
  for (const std::string& text : texts) {
    lengths_.push_back(static_cast<int32_t>(text.size()));
  }
  if (texts.empty()) return;
  Build(texts);
  Link();
}

// Level by level: texts sorted by their reversals are ranges of equal prefixes,
// and a node is such a range.
void TextMatcher::Build(const std::vector<std::string>& texts) {
  std::vector<int32_t> order(texts.size());
  std::iota(order.begin(), order.end(), 0);
  // Bytes, not signed characters.
  const auto less = [](char a, char b) {
    return static_cast<uint8_t>(a) < static_cast<uint8_t>(b);
  };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return std::lexicographical_compare(texts[a].rbegin(), texts[a].rend(),
                                        texts[b].rbegin(), texts[b].rend(),
                                        less);
  });
  struct Range {
    size_t begin, end, depth;
  };
  std::vector<Range> ranges = {{0, order.size(), 0}};
  nodes_.emplace_back();
  for (size_t n = 0; n < ranges.size(); ++n) {
    const Range range = ranges[n];
    size_t begin = range.begin;
    // Those that end here are the shortest, so they come first.
    while (begin < range.end && texts[order[begin]].size() == range.depth) {
      if (nodes_[n].text < 0) nodes_[n].text = order[begin];
      ++begin;
    }
    nodes_[n].first_edge = static_cast<int32_t>(edges_.size());
    while (begin < range.end) {
      const uint8_t byte = FromEnd(texts[order[begin]], range.depth);
      size_t end = begin + 1;
      while (end < range.end &&
             FromEnd(texts[order[end]], range.depth) == byte) {
        ++end;
      }
      edges_.push_back({byte, static_cast<int32_t>(ranges.size())});
      ranges.push_back({begin, end, range.depth + 1});
      nodes_.emplace_back();
      begin = end;
    }
    nodes_[n].edge_count =
        static_cast<int32_t>(edges_.size()) - nodes_[n].first_edge;
  }
}

// Failures point to nodes of less depth, which come earlier.
void TextMatcher::Link() {
  for (size_t n = 0; n < nodes_.size(); ++n) {
    const Node node = nodes_[n];
    for (int32_t e = 0; e < node.edge_count; ++e) {
      const Edge edge = edges_[node.first_edge + e];
      Node& child = nodes_[edge.target];
      child.fail = n == 0 ? 0 : Step(node.fail, edge.byte);
      if (child.text < 0) child.text = nodes_[child.fail].text;
    }
  }
}

int32_t TextMatcher::Child(int32_t node, uint8_t byte) const {
  const auto begin = edges_.begin() + nodes_[node].first_edge;
  const auto end = begin + nodes_[node].edge_count;
  const auto it = std::lower_bound(
      begin, end, byte,
      [](const Edge& edge, uint8_t b) { return edge.byte < b; });
  return it == end || it->byte != byte ? -1 : it->target;
}

int32_t TextMatcher::Step(int32_t node, uint8_t byte) const {
  while (true) {
    const int32_t child = Child(node, byte);
    if (child >= 0) return child;
    if (node == 0) return 0;
    node = nodes_[node].fail;
  }
}

void TextMatcher::FindAll(
    absl::string_view text,
    absl::FunctionRef<void(int64_t begin, int64_t end, int32_t index)> found)
    const {
  if (empty()) return;
  struct Hit {
    int64_t begin;
    int32_t index;
  };
  std::vector<Hit> hits;  // from right to left
  int32_t node = 0;
  for (int64_t at = static_cast<int64_t>(text.size()) - 1; at >= 0; --at) {
    node = Step(node, static_cast<uint8_t>(text[at]));
    if (nodes_[node].text >= 0) hits.push_back({at, nodes_[node].text});
  }
  int64_t end = 0;
  for (auto hit = hits.rbegin(); hit != hits.rend(); ++hit) {
    if (hit->begin < end) continue;
    end = hit->begin + lengths_[hit->index];
    found(hit->begin, end, hit->index);
  }
}

}  // namespace quant

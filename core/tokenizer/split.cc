#include "core/tokenizer/split.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// A part of the piece: matched or between matches, perhaps empty.
struct Part {
  int64_t begin = 0, end = 0;
  bool is_match = false;
};

absl::Status FindParts(const RegexSearch& search, bool invert,
                       absl::string_view text, std::vector<Part>& parts) {
  parts.clear();
  int64_t previous = 0;
  const auto add = [&](int64_t begin, int64_t end) {
    if (previous != begin) parts.push_back({previous, begin, invert});
    parts.push_back({begin, end, !invert});
    previous = end;
  };
  QUANT_RETURN_IF_ERROR(search.FindAll(text, add));
  const int64_t size = static_cast<int64_t>(text.size());
  if (previous != size) parts.push_back({previous, size, invert});
  return absl::OkStatus();
}

// Parts that belong together as one, in place.
void Merge(SplitBehavior behavior, std::vector<Part>& parts) {
  if (behavior == SplitBehavior::kRemoved ||
      behavior == SplitBehavior::kIsolated) {
    return;
  }
  const bool backwards = behavior == SplitBehavior::kMergedWithNext;
  if (backwards) std::reverse(parts.begin(), parts.end());
  std::vector<Part> merged;
  bool previous = false;
  for (const Part& part : parts) {
    const bool joins = behavior == SplitBehavior::kContiguous
                           ? part.is_match == previous
                           : part.is_match && !previous;
    previous = part.is_match;
    if (!joins || merged.empty()) {
      merged.push_back(part);
    } else if (backwards) {
      merged.back().begin = part.begin;
    } else {
      merged.back().end = part.end;
    }
  }
  if (backwards) std::reverse(merged.begin(), merged.end());
  parts = std::move(merged);
}

}  // namespace

absl::StatusOr<SplitBehavior> ParseSplitBehavior(absl::string_view name) {
  const std::pair<const char*, SplitBehavior> known[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous}};
  std::vector<std::string> names;
  for (const auto& [text, behavior] : known) {
    if (name == text) return behavior;
    names.push_back(text);
  }
  return UnknownNameError("behavior of a split", name, names);
}

absl::Status Split(const SplitRule& rule, CutText& pieces) {
  QUANT_ASSIGN_OR_RETURN(const RegexSearch search,
                         RegexSearch::Make(rule.pattern));
  std::vector<Part> parts;
  std::vector<Piece> out;
  for (const Piece& piece : pieces.pieces) {
    QUANT_RETURN_IF_ERROR(
        FindParts(search, rule.invert, pieces.Of(piece), parts));
    Merge(rule.behavior, parts);
    for (const Part& part : parts) {
      const bool removed =
          rule.behavior == SplitBehavior::kRemoved && part.is_match;
      if (removed || part.begin == part.end) continue;
      out.push_back({piece.begin + part.begin, piece.begin + part.end,
                     piece.first && part.begin == 0});
    }
  }
  pieces.pieces = std::move(out);
  return absl::OkStatus();
}

}  // namespace quant

// Byte pair encoding of one piece: of all neighbours that may merge, those with
// the best rank do, the leftmost first, until none may.
// Source: Sennrich, Haddow, Birch 2016, section 3.2; with a queue of
// candidates, so that n symbols take n log n.
#ifndef QUANT_CORE_TOKENIZER_MERGE_H_
#define QUANT_CORE_TOKENIZER_MERGE_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

namespace quant {

// Part of a piece. Ids mean what the model wants.
struct Symbol {
  int32_t id = 0;
  int32_t begin = 0;  // in the piece
  int32_t size = 0;   // in bytes; 0: merged into the one before
  int32_t previous = -1, next = -1;
};

struct MergeResult {
  int32_t rank = 0;  // less is better
  int32_t id = 0;    // of the whole
};

// Merges in place. `lookup(left, right)` answers an optional MergeResult. A
// candidate counts as long as its place would still become the same id, as in
// the tokenizers library.
template <typename Lookup>
class Merger {
 public:
  Merger(std::vector<Symbol>& symbols, Lookup lookup)
      : symbols_(symbols), lookup_(lookup) {}

  void Run() {
    const auto count = static_cast<int32_t>(symbols_.size());
    for (int32_t i = 0; i < count; ++i) {
      symbols_[i].previous = i - 1;
      symbols_[i].next = i + 1 < count ? i + 1 : -1;
    }
    for (int32_t i = 0; i + 1 < count; ++i) Add(i);
    std::make_heap(queue_.begin(), queue_.end());
    while (!queue_.empty()) {
      std::pop_heap(queue_.begin(), queue_.end());
      const Candidate best = queue_.back();
      queue_.pop_back();
      Merge(best);
    }
  }

 private:
  struct Candidate {
    int32_t rank, at, id;
    // The heap keeps the greatest at its top.
    bool operator<(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };

  void Add(int32_t at) {
    const Symbol& left = symbols_[at];
    const std::optional<MergeResult> found = lookup_(left, symbols_[left.next]);
    if (found) queue_.push_back({found->rank, at, found->id});
  }

  void Push(int32_t at) {
    const size_t before = queue_.size();
    Add(at);
    if (queue_.size() > before) std::push_heap(queue_.begin(), queue_.end());
  }

  void Merge(const Candidate& best) {
    Symbol& left = symbols_[best.at];
    if (left.size == 0 || left.next < 0) return;
    Symbol& right = symbols_[left.next];
    const std::optional<MergeResult> found = lookup_(left, right);
    if (!found || found->id != best.id) return;
    left.id = best.id;
    left.size += right.size;
    right.size = 0;
    left.next = right.next;
    if (left.next >= 0) symbols_[left.next].previous = best.at;
    if (left.previous >= 0) Push(left.previous);
    if (left.next >= 0) Push(best.at);
  }

  std::vector<Symbol>& symbols_;
  Lookup lookup_;
  std::vector<Candidate> queue_;
};

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_MERGE_H_

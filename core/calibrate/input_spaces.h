// Which weights of a block have the same inputs, and what those look like.
//
//   q, k, v (or all fused)   the normed hidden states
//   o                        what attention gives
//   gate, up (or fused)      the normed hidden states; with experts, those of
//                            the tokens that an expert was given
//   down                     the gated activations; per expert
#ifndef QUANT_CORE_CALIBRATE_INPUT_SPACES_H_
#define QUANT_CORE_CALIBRATE_INPUT_SPACES_H_

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "core/base/thread_pool.h"
#include "core/calibrate/statistics.h"
#include "core/network/block.h"

namespace quant {

struct InputSpace {
  // 0 (q, k, v) to 3 (down): spaces of a later stage see what the weights of an
  // earlier one do.
  int stage = 0;
  int64_t expert = -1;  // -1: not of an expert
  std::vector<Linear*> linears;

  int64_t columns() const { return linears.front()->in; }
};

// By stage, then expert. Refers to the block.
std::vector<InputSpace> InputSpacesOf(Block& block);

// The spaces in the groups that are seen at a time: no more than fit in memory
// (a block with more, such as one of many experts, is run again for the rest),
// and of one stage only when `by_stage`.
inline constexpr int64_t kStatisticsBytes = int64_t{1} << 30;
std::vector<std::vector<InputSpace>> PhasesOf(std::vector<InputSpace> spaces,
                                              bool with_hessians,
                                              bool by_stage);

// Fills the statistics of some spaces while a block runs.
class Collector {
 public:
  // `spaces` outlive this.
  Collector(ThreadPool& pool, const std::vector<InputSpace>& spaces,
            bool with_hessians);

  LinearObserver observer();

  // Of spaces[i].
  const InputStatistics& of(size_t i) const { return statistics_[i]; }
  // Gives the memory of spaces[i] back.
  void Drop(size_t i) { statistics_[i] = InputStatistics(0, false); }
  // Of all of them, which this has no longer.
  std::vector<InputStatistics> Take() { return std::move(statistics_); }

 private:
  ThreadPool& pool_;
  std::vector<InputStatistics> statistics_;
  // Of the first Linear of each space: the others' inputs are the same.
  std::map<const Linear*, size_t> index_;
};

}  // namespace quant

#endif  // QUANT_CORE_CALIBRATE_INPUT_SPACES_H_

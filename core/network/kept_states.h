// Hidden states between two blocks, kept in a file, so that a long pass through
// a network goes on there after a crash:
//
//   KeptStates kept(options.keep);
//   states = network.Embed(...);
//   first = kept.Load(blocks, {&states}, notes);
//   for block from first: run it; kept.Store(block + 1, {&states}, notes);
//   kept.Remove();
//
// Host byte order: the file stays in the work directory.
#ifndef QUANT_CORE_NETWORK_KEPT_STATES_H_
#define QUANT_CORE_NETWORK_KEPT_STATES_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/network/hidden_states.h"

namespace quant {

struct KeepOptions {
  std::string path;  // empty: nothing is kept
  // What the pass is of: weights, text, kind of CPU. The file of another is not
  // taken.
  std::string identity;
  // Blocks that take less are cheaper to repeat than to keep.
  std::chrono::milliseconds every = std::chrono::seconds(60);
  bool sync = true;
  // Called after states were kept behind so many blocks; may be empty.
  std::function<void(int64_t blocks)> kept;
};

class KeptStates {
 public:
  explicit KeptStates(KeepOptions options)
      : options_(std::move(options)), last_(Clock::now()) {}

  // Behind how many blocks states are kept; puts them into `states`, which have
  // their sizes, and what lay beside them into `notes`. 0, and nothing touched,
  // when there are none, or damaged ones, or ones behind more than `most`.
  absl::StatusOr<int64_t> Load(int64_t most,
                               absl::Span<HiddenStates* const> states,
                               std::string& notes) const;

  // In the place of what was kept before; nothing before KeepOptions::every has
  // passed since then.
  absl::Status Store(int64_t blocks, absl::Span<HiddenStates* const> states,
                     absl::string_view notes);

  absl::Status Remove() const;

 private:
  using Clock = std::chrono::steady_clock;

  KeepOptions options_;
  Clock::time_point last_;
};

// Bytes of disk that keeping takes: the old states and the new ones.
int64_t BytesOfKept(int64_t state_bytes);

}  // namespace quant

#endif  // QUANT_CORE_NETWORK_KEPT_STATES_H_

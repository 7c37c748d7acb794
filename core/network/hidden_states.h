// Hidden states of many sequences between two blocks: in memory, or in a file
// that disappears by itself where memory is too small for them.
//
// Legend: R rows (positions of all sequences), H hidden width.
#ifndef QUANT_CORE_NETWORK_HIDDEN_STATES_H_
#define QUANT_CORE_NETWORK_HIDDEN_STATES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/file.h"

namespace quant {

struct SpillOptions {
  int64_t memory_bytes = int64_t{4} << 30;  // beyond this, a file
  std::string directory = "/tmp";
};

class HiddenStates {
 public:
  static absl::StatusOr<HiddenStates> Create(int64_t rows, int64_t cols,
                                             const SpillOptions& options);

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t bytes() const {
    return rows_ * cols_ * static_cast<int64_t>(sizeof(float));
  }
  bool spilled() const { return file_.has_value(); }
  absl::Status Load(int64_t first_row, int64_t rows, float* out) const;
  absl::Status Store(int64_t first_row, int64_t rows, const float* values);

 private:
  HiddenStates(int64_t rows, int64_t cols) : rows_(rows), cols_(cols) {}

  int64_t rows_;
  int64_t cols_;
  std::vector<float> memory_;
  std::optional<File> file_;
};

}  // namespace quant

#endif  // QUANT_CORE_NETWORK_HIDDEN_STATES_H_

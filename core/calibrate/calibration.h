// The text of a calibration: token ids, packed into sequences.
#ifndef QUANT_CORE_CALIBRATE_CALIBRATION_H_
#define QUANT_CORE_CALIBRATE_CALIBRATION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/network/network.h"

namespace quant {

// Token ids, and which file they came from.
struct Calibration {
  std::vector<int32_t> tokens;
  int64_t sequence_length = 0;  // 0: the model's own context, at most 2048
  int64_t max_sequences = 0;    // 0: all there are
  std::string file_name;
  int64_t size_bytes = 0;
  std::string sha256;
};

// Consecutive tokens are cut into sequences that do not overlap; what is left
// at the end is not used, and nothing is padded. Refers to the tokens.
// INVALID_ARGUMENT when there are fewer tokens than one sequence, a length that
// the model or the forward pass can't take, or a token beyond the vocabulary.
absl::StatusOr<Sequences> PackSequences(const Calibration& calibration,
                                        const NetworkConfig& config);

}  // namespace quant

#endif  // QUANT_CORE_CALIBRATE_CALIBRATION_H_

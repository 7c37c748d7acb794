#include "core/calibrate/calibration.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"

namespace quant {
namespace {

constexpr int64_t kDefaultLength = 2048;

absl::Status CheckTokens(const std::string& name, const Sequences& sequences,
                         int64_t vocabulary) {
  for (size_t i = 0; i < sequences.tokens.size(); ++i) {
    const int32_t token = sequences.tokens[i];
    if (token >= 0 && token < vocabulary) continue;
    return InvalidSpec(
        absl::StrCat("calibration ", name, ": token ", i, " is ", token,
                     "; the model has ids 0 to ", vocabulary - 1,
                     ": was the text tokenized for another model?"),
        "calibration");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Sequences> PackSequences(const Calibration& calibration,
                                        const NetworkConfig& config) {
  const int64_t most = std::min(config.max_positions, kMaxSequenceLength);
  const int64_t length = calibration.sequence_length > 0
                             ? calibration.sequence_length
                             : std::min(config.max_positions, kDefaultLength);
  if (length < 1 || length > most) {
    return InvalidSpec(absl::StrCat("calibration: a sequence length of ",
                                    length, "; this model takes 1 to ", most),
                       "calibration.sequence_length");
  }
  const int64_t tokens = static_cast<int64_t>(calibration.tokens.size());
  int64_t count = tokens / length;
  if (calibration.max_sequences > 0) {
    count = std::min(count, calibration.max_sequences);
  }
  if (count == 0) {
    return InvalidSpec(
        absl::StrCat("calibration ", calibration.file_name, ": ", tokens,
                     " tokens; one sequence has ", length,
                     "; a smaller sequence length or more text is needed"),
        "calibration");
  }
  const Sequences sequences{
      .tokens =
          absl::MakeConstSpan(calibration.tokens).subspan(0, count * length),
      .length = length};
  absl::Status status =
      CheckTokens(calibration.file_name, sequences, config.vocabulary);
  if (!status.ok()) return status;
  return sequences;
}

}  // namespace quant

// What the inputs of every weight of a network's blocks look like over a text,
// column by column.
//
// Legend: I input columns.
#ifndef QUANT_CORE_CALIBRATE_INPUT_SUMMARY_H_
#define QUANT_CORE_CALIBRATE_INPUT_SUMMARY_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/calibrate/statistics.h"
#include "core/container/model_reader.h"
#include "core/network/network.h"
#include "core/tokenizer/dataset.h"

namespace quant {

// Zeros before any token (experts).
struct InputSummary {
  int64_t tokens = 0;
  std::vector<float> absmax;       // [I] largest magnitudes
  std::vector<float> mean_square;  // [I]

  bool operator==(const InputSummary&) const = default;
};

InputSummary SummaryOf(const InputStatistics& statistics);

// By the weight's tensor: "model.layers.0.self_attn.q_proj.weight".
using InputSummaries = std::map<std::string, InputSummary>;

// Runs the text through the model as it is. Errors of Network::Open and
// CheckSequences; CANCELLED when stopped.
absl::StatusOr<InputSummaries> SummarizeInputs(const ModelReader& model,
                                               const Dataset& data,
                                               const RunOptions& options);

// As bytes, sealed by a digest, and back; nothing when they are damaged. Host
// byte order: they stay where they were made.
std::string SealSummaries(const InputSummaries& summaries);
std::optional<InputSummaries> UnsealSummaries(absl::string_view bytes);

}  // namespace quant

#endif  // QUANT_CORE_CALIBRATE_INPUT_SUMMARY_H_

// What a quantized checkpoint says of itself, and what its tensors' shapes say.
#ifndef QUANT_CORE_ARTIFACT_QUANT_SETTINGS_H_
#define QUANT_CORE_ARTIFACT_QUANT_SETTINGS_H_

#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/codec/scheme.h"
#include "core/container/model_reader.h"

namespace quant {

struct QuantSettings {
  std::string format;  // of formats.def; empty: not quantized
  std::set<int> bits;  // that any module may have; empty: not said
  int64_t block_rows = 0;
  int64_t block_cols = 0;
  // How compressed-tensors packs 3, 5, 6 and 7 bits: it has changed.
  enum class Packing { kUnknown, kDense, kLoose } packing = Packing::kUnknown;
  // What loaders quantize besides weights ("config_groups.group_0.
  // input_activations"); empty: nothing.
  std::string also_quantized;
  // What loaders do to the inputs of modules, by the classes ("Linear") or the
  // names that a group is for.
  struct Inputs {
    std::vector<std::string> targets;
    Activations kind = Activations::kNone;
    std::string unread;  // what is not known of, for an error; else empty
  };
  std::vector<Inputs> inputs;
};

// From config.json, or else from quantize_config.json or quant_config.json.
// FAILED_PRECONDITION UNSUPPORTED for a method that is not read; DATA_LOSS for
// nonsense.
absl::StatusOr<QuantSettings> ReadQuantSettings(const ModelReader& model);

// A tensor that holds a text of no fixed length.
bool IsFreeText(absl::string_view tensor);

}  // namespace quant

#endif  // QUANT_CORE_ARTIFACT_QUANT_SETTINGS_H_

// The keys of a GGUF file that say what its decoder is, read with their types
// checked. Remembers which were asked for, so that what nobody knows is not
// passed over in silence.
#ifndef QUANT_CORE_ARCHITECTURE_GGUF_KEYS_H_
#define QUANT_CORE_ARCHITECTURE_GGUF_KEYS_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/container/gguf_value.h"

namespace quant {

// The number that was meant: the shortest decimal that rounds to `value`.
// 1e-05f is 9.99999974737875e-06; config.json says 1e-05.
double ShortestDecimal(float value);

class GgufKeys {
 public:
  // `kvs` must outlive this. Keys are asked for without the architecture, which
  // stands before all of them: "block_count".
  GgufKeys(absl::Span<const GgufKv> kvs, absl::string_view architecture);

  // A u32, or a list of them for the layers, which must all be equal:
  // checkpoints have one number. DATA_LOSS MODEL_MALFORMED for other types,
  // INVALID_ARGUMENT UNSUPPORTED for layers that differ.
  absl::StatusOr<std::optional<int64_t>> FindInt(absl::string_view key);
  absl::StatusOr<int64_t> Int(absl::string_view key);
  absl::StatusOr<int64_t> Int(absl::string_view key, int64_t absent);
  // A finite f32, as the decimal number that was meant.
  absl::StatusOr<std::optional<double>> FindFloat(absl::string_view key);
  absl::StatusOr<double> Float(absl::string_view key);
  absl::StatusOr<double> Float(absl::string_view key, double absent);
  // Empty when absent.
  absl::StatusOr<std::string> Text(absl::string_view key);
  // Null when absent, or no list of true and false.
  const std::vector<bool>* Flags(absl::string_view key);

  // Keys of the architecture that nobody asked for, in file order.
  std::vector<std::string> Unread() const;

 private:
  std::string Name(absl::string_view key);

  absl::Span<const GgufKv> kvs_;
  std::string prefix_;
  std::set<std::string> read_;
};

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_GGUF_KEYS_H_

// gguf_names.def as a table, for both directions: checkpoints to GGUF files
// (gguf_names.h), and back (hf_names.h).
#ifndef QUANT_CORE_ARCHITECTURE_GGUF_NAME_TABLE_H_
#define QUANT_CORE_ARCHITECTURE_GGUF_NAME_TABLE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/architecture/decoder_config.h"
#include "core/tensor/shape.h"

namespace quant {

// See gguf_names.def.
enum class Rewrite {
  kCopy,
  kFloat,
  kNorm,
  kQuery,
  kKey,
  kQueryBias,
  kKeyBias,
  kStack,
  kFirstHalf,
  kSecondHalf,
};

struct NameRow {
  uint32_t families;
  absl::string_view hf;
  absl::string_view gguf;
  Rewrite rewrite;
  absl::string_view shape;  // of the checkpoint's tensor
  bool needed;
};
absl::Span<const NameRow> NameRows();

struct DropRow {
  uint32_t families;
  absl::string_view part;
  absl::string_view reason;
};
absl::Span<const DropRow> DropRows();

// The shape that a row gives to tensors of a checkpoint.
Shape ShapeOfRow(const NameRow& row, const DecoderConfig& config,
                 int64_t vocab);

// "blk.7.x" of "blk.N.x".
std::string WithLayer(absl::string_view gguf, int64_t layer);

// "7" of "layers.7"; nothing for "07", "+7" and numbers beyond `count`.
std::optional<int64_t> NumberBelow(absl::string_view text, int64_t count);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_GGUF_NAME_TABLE_H_

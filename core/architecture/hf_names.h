// What becomes of each tensor of a GGUF file in a Hugging Face checkpoint: the
// inverse of gguf_names.h, by the same table (gguf_names.def).
//
// Legend: E experts, O out, I in; shapes are [O, I] and [E, O, I].
#ifndef QUANT_CORE_ARCHITECTURE_HF_NAMES_H_
#define QUANT_CORE_ARCHITECTURE_HF_NAMES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/architecture/decoder_config.h"
#include "core/container/model_reader.h"
#include "core/tensor/shape.h"

namespace quant {

// A tensor of the checkpoint: all of a tensor of the file, or one expert's part
// of a stack.
struct HfMapping {
  std::string name;
  Shape shape;
  int tensor = 0;     // index into the file's tensors
  int64_t first = 0;  // element of that tensor where this one begins
  // Rows are permuted within each of so many heads: row 2 i + p of a head of d
  // rows of the file is row p d / 2 + i here. 0 = they are not.
  int64_t heads = 0;
  bool subtracts_one = false;
};

// Whether the values of a tensor say how positions are rotated, for which
// checkpoints have numbers in config.json.
bool IsRopeFactors(absl::string_view gguf_name);

// Maps all tensors, experts one by one, sorted by name. `config` is that of the
// checkpoint, with its vocabulary. INVALID_ARGUMENT UNSUPPORTED for a tensor
// without a place in checkpoints of the class, naming the nearest; DATA_LOSS
// MODEL_MALFORMED for tensors that are missing, or of other shapes than the
// file's keys say.
absl::StatusOr<std::vector<HfMapping>> MapFromGguf(
    const DecoderConfig& config, absl::Span<const TensorEntry> tensors);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_HF_NAMES_H_

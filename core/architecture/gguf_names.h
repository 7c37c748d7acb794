// What becomes of each tensor of a checkpoint in a GGUF file: names, shapes,
// and the rewrite of its values. The table is gguf_names.def.
//
// Legend: E experts; shapes are [out, in] and [E, out, in].
#ifndef QUANT_CORE_ARCHITECTURE_GGUF_NAMES_H_
#define QUANT_CORE_ARCHITECTURE_GGUF_NAMES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/architecture/decoder_config.h"
#include "core/container/model_reader.h"
#include "core/tensor/dtype.h"
#include "core/tensor/shape.h"

namespace quant {

// Where the values of a tensor come from.
enum class GgufSource {
  kWhole,       // of the source tensor
  kStacked,     // one source tensor per expert, one behind the other
  kFirstHalf,   // rows [0, out) of each [2 out, in] of [E, 2 out, in]
  kSecondHalf,  // rows [out, 2 out)
  kGenerated,   // not from the checkpoint at all
};

// A tensor of the GGUF file.
struct GgufMapping {
  std::string name;
  Shape shape;
  // Of what a reader of the values gets: the source's, or F32.
  DType dtype = DType::kF32;
  GgufSource source = GgufSource::kWhole;
  std::vector<int> tensors = {};  // indexes into the source's tensors
  // Rows are permuted within each of so many heads: row 2 i + p of a head of d
  // rows is row p d / 2 + i of the source. 0 = they are not.
  int64_t heads = 0;
  bool adds_one = false;
  std::vector<float> values = {};  // of generated tensors
};

// A source tensor that has no place in GGUF files.
struct GgufDropped {
  std::string name;
  std::string reason;
};

struct GgufMap {
  // In the order of the file: embedding, rope factors, blocks by number,
  // output_norm, output.
  std::vector<GgufMapping> tensors;
  std::vector<GgufDropped> dropped;
};

// Maps all of `tensors`. INVALID_ARGUMENT UNSUPPORTED for a name that loaders
// of the family would refuse, naming the nearest; DATA_LOSS MODEL_MALFORMED for
// tensors that are missing, there twice, or of other shapes than the config
// says.
absl::StatusOr<GgufMap> MapToGguf(const DecoderConfig& config,
                                  absl::Span<const TensorEntry> tensors);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_GGUF_NAMES_H_

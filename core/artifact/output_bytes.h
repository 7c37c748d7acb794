// What formats of safetensors files share: output tensors, scales as bytes, and
// the pieces of outputs that a tile of rows makes up.
#ifndef QUANT_CORE_ARTIFACT_OUTPUT_BYTES_H_
#define QUANT_CORE_ARTIFACT_OUTPUT_BYTES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/artifact/format.h"

namespace quant {

// "model...q_proj" of "model...q_proj.weight".
std::string ModuleOf(const TensorEntry& source);

// With its bytes; the shape is one that fits (see TensorBytes).
OutputTensor MakeOutput(std::string name, DType dtype, Shape shape);

int64_t ElementBytes(DType dtype);

// F32, F16 and BF16; the value is one of the type.
void StoreFloat(float value, DType type, uint8_t* out);
float LoadFloat(const uint8_t* bytes, DType type);
std::vector<float> LoadFloats(absl::Span<const uint8_t> bytes, DType type);

// A tile's part of an output whose rows lie across the weight's rows: `lines`
// pieces of `piece` bytes, `line` bytes apart, from `first` on.
struct Pieces {
  int output = 0;
  int64_t lines = 0;
  int64_t line = 0;
  int64_t first = 0;
  int64_t piece = 0;
};
void AddPieces(const Pieces& pieces, std::vector<ByteRange>& ranges);

// Packs outputs one by one: all ranges of an output, in order, are cut from one
// buffer.
class PieceWriter {
 public:
  // `out.ranges` is set; `outputs` is their number.
  PieceWriter(int outputs, PackedTile& out);
  // The buffer of an output, as long as all its ranges; not zeroed.
  uint8_t* Buffer(int output) { return out_.scratch[output].data(); }
  bool Has(int output) const { return !out_.scratch[output].empty(); }
  // Points out.data into the buffers.
  void Finish();

 private:
  PackedTile& out_;
};

// The bytes of one output in a packed tile, its ranges joined in order.
std::vector<uint8_t> JoinPieces(const PackedTile& tile, int output);

}  // namespace quant

#endif  // QUANT_CORE_ARTIFACT_OUTPUT_BYTES_H_

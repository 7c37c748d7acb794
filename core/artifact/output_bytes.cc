#include "core/artifact/output_bytes.h"

#include <cstring>

#include "absl/strings/strip.h"
#include "core/tensor/float_formats.h"

namespace quant {

std::string ModuleOf(const TensorEntry& source) {
  return std::string(absl::StripSuffix(source.name, ".weight"));
}

OutputTensor MakeOutput(std::string name, DType dtype, Shape shape) {
  const int64_t bytes = *TensorBytes(dtype, shape);
  return {.name = std::move(name),
          .dtype = dtype,
          .shape = std::move(shape),
          .bytes = bytes};
}

int64_t ElementBytes(DType dtype) { return DTypeBits(dtype) / 8; }

void StoreFloat(float value, DType type, uint8_t* out) {
  if (type == DType::kF32) {
    std::memcpy(out, &value, 4);
    return;
  }
  const uint16_t bits =
      type == DType::kF16 ? F32ToF16(value) : F32ToBf16(value);
  std::memcpy(out, &bits, 2);
}

float LoadFloat(const uint8_t* bytes, DType type) {
  if (type == DType::kF32) {
    float value;
    std::memcpy(&value, bytes, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, bytes, 2);
  return type == DType::kF16 ? F16ToF32(bits) : Bf16ToF32(bits);
}

std::vector<float> LoadFloats(absl::Span<const uint8_t> bytes, DType type) {
  const size_t size = ElementBytes(type);
  std::vector<float> values(bytes.size() / size);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = LoadFloat(bytes.data() + i * size, type);
  }
  return values;
}

void AddPieces(const Pieces& pieces, std::vector<ByteRange>& ranges) {
  for (int64_t i = 0; i < pieces.lines; ++i) {
    ranges.push_back({.output = pieces.output,
                      .offset = i * pieces.line + pieces.first,
                      .bytes = pieces.piece});
  }
}

PieceWriter::PieceWriter(int outputs, PackedTile& out) : out_(out) {
  std::vector<int64_t> bytes(outputs);
  for (const ByteRange& range : out_.ranges) bytes[range.output] += range.bytes;
  out_.scratch.resize(outputs);
  for (int i = 0; i < outputs; ++i) out_.scratch[i].resize(bytes[i]);
}

void PieceWriter::Finish() {
  std::vector<int64_t> at(out_.scratch.size());
  out_.data.resize(out_.ranges.size());
  for (size_t i = 0; i < out_.ranges.size(); ++i) {
    const ByteRange& range = out_.ranges[i];
    out_.data[i] = absl::MakeConstSpan(out_.scratch[range.output])
                       .subspan(at[range.output], range.bytes);
    at[range.output] += range.bytes;
  }
}

std::vector<uint8_t> JoinPieces(const PackedTile& tile, int output) {
  int64_t size = 0;
  for (const ByteRange& range : tile.ranges) {
    if (range.output == output) size += range.bytes;
  }
  std::vector<uint8_t> bytes;
  bytes.reserve(size);
  for (size_t i = 0; i < tile.ranges.size(); ++i) {
    if (tile.ranges[i].output != output) continue;
    bytes.insert(bytes.end(), tile.data[i].begin(), tile.data[i].end());
  }
  return bytes;
}

}  // namespace quant

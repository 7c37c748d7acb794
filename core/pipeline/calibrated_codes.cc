#include "core/pipeline/calibrated_codes.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/checked_math.h"
#include "core/base/digest.h"
#include "core/base/file.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/tensor/float_formats.h"

namespace quant {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kDigestBytes = sizeof(uint64_t);
constexpr int64_t kFloatBytes = sizeof(float);
constexpr int64_t kIndexBytes = sizeof(int32_t);

int64_t Aligned(int64_t bytes) {
  return CeilDiv(bytes, kAlignment) * kAlignment;
}

uint64_t DigestOf(const std::string& bytes) {
  return Xxh3(
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes.data()),
                          bytes.size() - kDigestBytes));
}

// A piece of a file or of memory, by its offset.
using PieceReader = std::function<absl::Status(int64_t, absl::Span<uint8_t>)>;

template <class T>
absl::Status ReadVector(const PieceReader& read, int64_t at, int64_t count,
                        std::vector<T>& out) {
  out.resize(count);
  return read(at, absl::MakeSpan(reinterpret_cast<uint8_t*>(out.data()),
                                 count * static_cast<int64_t>(sizeof(T))));
}

absl::Status ReadRows(const PieceReader& read, const CodesPlace& place,
                      int64_t row, int64_t rows, CodeTile& out) {
  const int64_t cell = row * place.groups;
  const int64_t cells = rows * place.groups;
  out.rows = rows;
  out.cols = place.cols;
  QUANT_RETURN_IF_ERROR(ReadVector(read, place.codes_at() + row * place.cols,
                                   rows * place.cols, out.codes));
  QUANT_RETURN_IF_ERROR(ReadVector(read, place.scales_at() + cell * kFloatBytes,
                                   cells, out.scales));
  out.zeros.clear();
  if (place.zeros) {
    QUANT_RETURN_IF_ERROR(
        ReadVector(read, place.zeros_at() + cell, cells, out.zeros));
  }
  out.column_groups.clear();
  if (!place.permuted) return absl::OkStatus();
  return ReadVector(read, place.columns_at(), place.cols, out.column_groups);
}

}  // namespace

int64_t CodesPlace::codes_at() const { return offset + kAlignment; }
int64_t CodesPlace::scales_at() const {
  return codes_at() + Aligned(rows * cols);
}
int64_t CodesPlace::zeros_at() const {
  return scales_at() + Aligned(rows * groups * kFloatBytes);
}
int64_t CodesPlace::columns_at() const {
  return zeros_at() + (zeros ? Aligned(rows * groups) : 0);
}
int64_t CodesPlace::factors_at() const {
  return columns_at() + (permuted ? Aligned(cols * kIndexBytes) : 0);
}
int64_t CodesPlace::divisors_at() const {
  return factors_at() + (scaled ? Aligned(cols * kFloatBytes) : 0);
}
int64_t CodesPlace::end() const {
  return divisors_at() + (divided ? Aligned(rows * kFloatBytes) : 0);
}
int64_t ValuesPlace::end() const {
  return offset + Aligned(count * kFloatBytes);
}

void CalibratedBlock::PutFacts(const CodesPlace& place,
                               const CalibrationFacts& facts) {
  static_assert(sizeof(facts) <= kAlignment);
  std::memcpy(bytes_.data() + place.offset, &facts, sizeof(facts));
}

void CalibratedBlock::Put(const CodesPlace& place, int64_t row,
                          const CodeTile& tile) {
  const int64_t cell = row * place.groups;
  std::copy(tile.codes.begin(), tile.codes.end(),
            bytes_.data() + place.codes_at() + row * place.cols);
  std::memcpy(bytes_.data() + place.scales_at() + cell * kFloatBytes,
              tile.scales.data(), tile.scales.size() * kFloatBytes);
  std::copy(tile.zeros.begin(), tile.zeros.end(),
            bytes_.data() + place.zeros_at() + cell);
  // All tiles of a tensor have the same groups: one writes them.
  if (!place.permuted || row != 0) return;
  std::vector<int32_t> groups = tile.column_groups;
  for (int64_t i = static_cast<int64_t>(groups.size()); i < place.cols; ++i) {
    groups.push_back(static_cast<int32_t>(i / place.group));
  }
  std::memcpy(bytes_.data() + place.columns_at(), groups.data(),
              groups.size() * kIndexBytes);
}

void CalibratedBlock::Get(const CodesPlace& place, int64_t row, int64_t rows,
                          CodeTile& out) const {
  const PieceReader read = [&](int64_t at, absl::Span<uint8_t> to) {
    std::memcpy(to.data(), bytes_.data() + at, to.size());
    return absl::OkStatus();
  };
  (void)ReadRows(read, place, row, rows, out);  // memory can't fail
}

void CalibratedBlock::PutFloats(int64_t at, absl::Span<const float> values) {
  std::memcpy(bytes_.data() + at, values.data(), values.size() * kFloatBytes);
}

std::vector<float> CalibratedBlock::GetFloats(int64_t at, int64_t count) const {
  std::vector<float> values(count);
  std::memcpy(values.data(), bytes_.data() + at, count * kFloatBytes);
  return values;
}

CalibratedCodes::CalibratedCodes(std::string directory,
                                 const ModelReader& model, const Plan& plan,
                                 int output)
    : directory_(std::move(directory)) {
  const std::vector<TensorPlan>& tensors = plan.outputs[output].tensors;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].calibrated) continue;
    const TensorEntry& source = model.tensors()[tensors[i].source];
    const Scheme& scheme = tensors[i].scheme;
    const int64_t cols = source.shape[1];
    const int64_t group =
        scheme.granularity == Granularity::kGroup ? scheme.group_size : cols;
    CodesPlace place{.index = static_cast<int>(i),
                     .tensor = source.name,
                     .layer = LayerOf(source.name),
                     .rows = source.shape[0],
                     .cols = cols,
                     .group = group,
                     .groups = CeilDiv(cols, group),
                     .zeros = !scheme.symmetric,
                     .permuted = scheme.act_order,
                     .scaled = tensors[i].scaled,
                     .divided = tensors[i].divided};
    const size_t layer = static_cast<size_t>(place.layer);
    if (layers_.size() <= layer) layers_.resize(layer + 1);
    if (!layers_[layer].empty()) place.offset = layers_[layer].back().end();
    layers_[layer].push_back(std::move(place));
  }
  values_.resize(layers_.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].calibrated || !tensors[i].divided) continue;
    const TensorEntry& source = model.tensors()[tensors[i].source];
    ValuesPlace place{.index = static_cast<int>(i),
                      .tensor = source.name,
                      .layer = LayerOf(source.name),
                      .dtype = source.dtype,
                      .count = source.shape[0]};
    place.offset = block_bytes(place.layer) - kDigestBytes;
    values_[place.layer].push_back(std::move(place));
  }
  for (const std::vector<CodesPlace>& places : layers_) {
    for (const CodesPlace& place : places) by_index_[place.index] = &place;
  }
  for (const std::vector<ValuesPlace>& places : values_) {
    for (const ValuesPlace& place : places) {
      values_by_index_[place.index] = &place;
    }
  }
}

int64_t CalibratedCodes::block_bytes(int64_t layer) const {
  const std::vector<CodesPlace>& places = layers_[layer];
  const std::vector<ValuesPlace>& values = values_[layer];
  const int64_t end = !values.empty()   ? values.back().end()
                      : !places.empty() ? places.back().end()
                                        : 0;
  return end + kDigestBytes;
}

int64_t CalibratedCodes::total_bytes() const {
  int64_t bytes = 0;
  for (int64_t i = 0; i < layers(); ++i) bytes += block_bytes(i);
  return bytes;
}

std::string CalibratedCodes::PathOf(int64_t layer) const {
  return JoinPath(directory_, absl::StrCat("block-", layer));
}

absl::StatusOr<std::optional<CalibratedBlock>> CalibratedCodes::Load(
    int64_t layer) const {
  if (!PathExists(PathOf(layer))) return std::nullopt;
  CalibratedBlock block(block_bytes(layer));
  QUANT_ASSIGN_OR_RETURN(const File file, File::OpenRead(PathOf(layer)));
  QUANT_ASSIGN_OR_RETURN(const int64_t size, file.Size());
  if (size != block_bytes(layer)) return std::nullopt;
  std::string& bytes = block.bytes();
  QUANT_RETURN_IF_ERROR(file.ReadAt(
      0, absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), size)));
  uint64_t digest = 0;
  std::memcpy(&digest, bytes.data() + size - kDigestBytes, kDigestBytes);
  if (digest != DigestOf(bytes)) return std::nullopt;
  return block;
}

absl::Status CalibratedCodes::Store(int64_t layer, CalibratedBlock& block,
                                    bool sync) const {
  QUANT_RETURN_IF_ERROR(MakeDirectories(directory_));
  std::string& bytes = block.bytes();
  const uint64_t digest = DigestOf(bytes);
  std::memcpy(bytes.data() + bytes.size() - kDigestBytes, &digest,
              kDigestBytes);
  return WriteFileAtomically(PathOf(layer), bytes, sync);
}

absl::Status CalibratedCodes::Read(int index, int64_t row, int64_t rows,
                                   CodeTile& out) const {
  const CodesPlace& place = *by_index_.at(index);
  QUANT_ASSIGN_OR_RETURN(const File file, File::OpenRead(PathOf(place.layer)));
  const PieceReader read = [&](int64_t at, absl::Span<uint8_t> to) {
    return file.ReadAt(at, to);
  };
  return ReadRows(read, place, row, rows, out);
}

absl::StatusOr<CalibrationFacts> CalibratedCodes::ReadFacts(
    const CodesPlace& place) const {
  QUANT_ASSIGN_OR_RETURN(const File file, File::OpenRead(PathOf(place.layer)));
  CalibrationFacts facts;
  QUANT_RETURN_IF_ERROR(file.ReadAt(
      place.offset,
      absl::MakeSpan(reinterpret_cast<uint8_t*>(&facts), sizeof(facts))));
  return facts;
}

absl::StatusOr<std::vector<float>> CalibratedCodes::ReadFloats(
    int64_t layer, int64_t at, int64_t count) const {
  QUANT_ASSIGN_OR_RETURN(const File file, File::OpenRead(PathOf(layer)));
  std::vector<float> values;
  const PieceReader read = [&](int64_t from, absl::Span<uint8_t> to) {
    return file.ReadAt(from, to);
  };
  QUANT_RETURN_IF_ERROR(ReadVector(read, at, count, values));
  return values;
}

absl::StatusOr<std::vector<float>> CalibratedCodes::ReadFactors(
    int index) const {
  const CodesPlace& place = *by_index_.at(index);
  if (!place.scaled) return std::vector<float>(place.cols, 1.0f);
  return ReadFloats(place.layer, place.factors_at(), place.cols);
}

absl::StatusOr<std::vector<float>> CalibratedCodes::ReadDivisors(
    int index, int64_t row, int64_t rows) const {
  const CodesPlace& place = *by_index_.at(index);
  if (!place.divided) return std::vector<float>(rows, 1.0f);
  return ReadFloats(place.layer, place.divisors_at() + row * kFloatBytes, rows);
}

absl::Status CalibratedCodes::ReadValues(int index, int64_t first,
                                         int64_t count, uint8_t* out) const {
  const ValuesPlace& place = *values_by_index_.at(index);
  QUANT_ASSIGN_OR_RETURN(
      const std::vector<float> values,
      ReadFloats(place.layer, place.offset + first * kFloatBytes, count));
  StoreFloats(place.dtype, values, out);
  return absl::OkStatus();
}

int64_t LayerOf(absl::string_view module) {
  int64_t layer = -1;
  if (!absl::ConsumePrefix(&module, "model.layers.")) return -1;
  if (!absl::SimpleAtoi(module.substr(0, module.find('.')), &layer)) return -1;
  return layer >= 0 && layer < kMaxLayers ? layer : -1;
}

}  // namespace quant

#include "core/transform/restored_model.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/architecture/decoder_config.h"
#include "core/architecture/hf_config.h"
#include "core/architecture/hf_tokenizer.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/kernels/convert.h"
#include "core/transform/view_read.h"

namespace quant {
namespace {

// Of the rows that are read to find some of them.
constexpr int64_t kScratchElements = 1 << 17;
constexpr float kOne = 1.0f;
// Half of what any head rotates.
constexpr int64_t kMaxRopeFactors = 1 << 16;

int64_t SizeOf(DType dtype) { return DTypeBits(dtype) / 8; }

// Rows and columns of a permuted tensor; a bias has one column.
int64_t RowsOf(const HfMapping& mapping) { return mapping.shape[0]; }
int64_t ColsOf(const HfMapping& mapping) {
  return mapping.shape.size() == 2 ? mapping.shape[1] : 1;
}

// The row of the file that row `row` of the checkpoint is.
int64_t FileRow(const HfMapping& mapping, int64_t row) {
  const int64_t d = RowsOf(mapping) / mapping.heads;
  const int64_t in_head = row % d;
  return row - in_head + in_head % (d / 2) * 2 + in_head / (d / 2);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RestoredModel>>
RestoredModel::CreateWithoutTokenizer(const ModelReader& source) {
  auto model = std::unique_ptr<RestoredModel>(new RestoredModel(source));
  const absl::Status status = model->Describe();
  if (!status.ok()) return Annotate(status, source.path());
  return model;
}

absl::StatusOr<std::unique_ptr<RestoredModel>> RestoredModel::Create(
    const ModelReader& source) {
  QUANT_ASSIGN_OR_RETURN(auto model, CreateWithoutTokenizer(source));
  const absl::Status status = model->MakeTokenizer();
  if (!status.ok()) return Annotate(status, source.path());
  return model;
}

absl::Status RestoredModel::Describe() {
  GgufCheckpoint checkpoint{.kvs = source_.kvs(), .tensors = source_.tensors()};
  QUANT_ASSIGN_OR_RETURN(checkpoint.rope_freqs,
                         ReadFactors("rope_freqs.weight"));
  QUANT_ASSIGN_OR_RETURN(checkpoint.long_factors,
                         ReadFactors("rope_factors_long.weight"));
  QUANT_ASSIGN_OR_RETURN(checkpoint.short_factors,
                         ReadFactors("rope_factors_short.weight"));
  QUANT_ASSIGN_OR_RETURN(HfConfig made, MakeHfConfig(checkpoint));
  config_json_ = std::move(made.json);
  notes_ = std::move(made.notes);
  const auto config = ParseDecoderConfig(config_json_);
  if (!config.ok()) {
    return Annotate(config.status(), "the keys of the file, as config.json");
  }
  QUANT_ASSIGN_OR_RETURN(std::vector<HfMapping> mappings,
                         MapFromGguf(*config, source_.tensors()));
  return Adopt(std::move(mappings));
}

absl::Status RestoredModel::MakeTokenizer() {
  // A real one goes before what can be made.
  for (const SideFile& file : source_.side_files()) {
    if (file.name == "tokenizer.json" || file.name == "tokenizer.model") {
      return absl::OkStatus();
    }
  }
  QUANT_ASSIGN_OR_RETURN(const DecoderConfig config,
                         ParseDecoderConfig(config_json_));
  QUANT_ASSIGN_OR_RETURN(HfTokenizer tokenizer,
                         MakeHfTokenizer(source_.kvs(), config));
  for (MadeFile& file : tokenizer.files) {
    const bool there = std::any_of(
        source_.side_files().begin(), source_.side_files().end(),
        [&](const SideFile& side) { return side.name == file.name; });
    if (!there) made_.push_back(std::move(file));
  }
  notes_.insert(notes_.end(), tokenizer.notes.begin(), tokenizer.notes.end());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> RestoredModel::ReadFactors(
    const char* name) const {
  const std::vector<TensorEntry>& tensors = source_.tensors();
  const auto it = std::find_if(tensors.begin(), tensors.end(),
                               [&](const auto& t) { return t.name == name; });
  std::vector<float> factors;
  if (it == tensors.end()) return factors;
  const int64_t count = *NumElements(it->shape);
  if (!IsWeightFloat(it->dtype) || count < 1 || count > kMaxRopeFactors) {
    return ModelMalformed(absl::StrCat(
        "tensor \"", name, "\": is ", TypeName(*it), " ",
        ShapeToString(it->shape), "; factors of one head are needed"));
  }
  std::vector<uint8_t> raw(it->bytes);
  QUANT_RETURN_IF_ERROR(source_.Read(*it, 0, absl::MakeSpan(raw)));
  factors.resize(count);
  ConvertToF32(it->dtype, raw.data(), count, factors.data());
  return factors;
}

absl::Status RestoredModel::Adopt(std::vector<HfMapping> mappings) {
  for (const HfMapping& mapping : mappings) {
    const TensorEntry& from = source_.tensors()[mapping.tensor];
    TensorEntry entry{.name = mapping.name,
                      .dtype = from.dtype,
                      .shape = mapping.shape,
                      .file = from.file,
                      .offset = from.offset};
    // One added to F32 can only be taken off F32.
    if (mapping.subtracts_one) entry.dtype = DType::kF32;
    const auto bytes = TensorBytes(entry.dtype, entry.shape);
    if (!bytes) {
      return ModelMalformed(
          absl::StrCat("tensor \"", mapping.name, "\": is too large"));
    }
    entry.bytes = *bytes;
    tensors_.push_back(std::move(entry));
  }
  mappings_ = std::move(mappings);
  return absl::OkStatus();
}

absl::Status RestoredModel::Read(const TensorEntry& tensor, int64_t begin,
                                 absl::Span<uint8_t> out) const {
  const int64_t size = static_cast<int64_t>(out.size());
  QUANT_ASSIGN_OR_RETURN(const ElementRange read,
                         ElementsOfRead(tensors_, tensor, begin, size));
  const HfMapping& mapping = mappings_[read.index];
  const int64_t first = read.first, last = read.last;
  if (!mapping.subtracts_one) return Gather(mapping, first, last, out.data());
  const DType from = source_.tensors()[mapping.tensor].dtype;
  std::vector<uint8_t> raw((last - first) * SizeOf(from));
  QUANT_RETURN_IF_ERROR(Gather(mapping, first, last, raw.data()));
  std::vector<float> values(last - first);
  ConvertToF32(from, raw.data(), last - first, values.data());
  for (float& value : values) value -= kOne;
  if (size > 0) std::memcpy(out.data(), values.data(), size);
  return absl::OkStatus();
}

absl::Status RestoredModel::Gather(const HfMapping& mapping, int64_t begin,
                                   int64_t end, uint8_t* out) const {
  if (mapping.heads == 0) {
    return ReadSource(mapping, begin, end - begin, out);
  }
  const int64_t cols = ColsOf(mapping);
  const int64_t half = RowsOf(mapping) / mapping.heads / 2;
  const int64_t size = SizeOf(source_.tensors()[mapping.tensor].dtype);
  // Rows between which others are read and left.
  const int64_t most = std::max<int64_t>(1, kScratchElements / cols / 2);
  for (int64_t at = begin; at < end;) {
    const int64_t row = at / cols;
    const int64_t col = at % cols;
    uint8_t* const to = out + (at - begin) * size;
    int64_t count = std::min(end - at, cols - col);
    if (count == cols) {
      const int64_t rows =
          std::min({(end - at) / cols, half - row % half, most});
      QUANT_RETURN_IF_ERROR(GatherRows(mapping, row, rows, to));
      count = rows * cols;
    } else {
      QUANT_RETURN_IF_ERROR(
          ReadSource(mapping, FileRow(mapping, row) * cols + col, count, to));
    }
    at += count;
  }
  return absl::OkStatus();
}

// Rows of one half of a head are every other row of the file.
absl::Status RestoredModel::GatherRows(const HfMapping& mapping, int64_t row,
                                       int64_t rows, uint8_t* out) const {
  const int64_t cols = ColsOf(mapping);
  const int64_t first = FileRow(mapping, row) * cols;
  if (rows == 1) return ReadSource(mapping, first, cols, out);
  const int64_t bytes = cols * SizeOf(source_.tensors()[mapping.tensor].dtype);
  std::vector<uint8_t> scratch((2 * rows - 1) * bytes);
  QUANT_RETURN_IF_ERROR(
      ReadSource(mapping, first, (2 * rows - 1) * cols, scratch.data()));
  for (int64_t i = 0; i < rows; ++i) {
    std::memcpy(out + i * bytes, scratch.data() + 2 * i * bytes, bytes);
  }
  return absl::OkStatus();
}

absl::Status RestoredModel::ReadSource(const HfMapping& mapping,
                                       int64_t element, int64_t count,
                                       uint8_t* out) const {
  const TensorEntry& entry = source_.tensors()[mapping.tensor];
  const int64_t size = SizeOf(entry.dtype);
  return source_.Read(entry, (mapping.first + element) * size,
                      absl::MakeSpan(out, count * size));
}

}  // namespace quant

#include "core/transform/converted_model.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/architecture/gguf_metadata.h"
#include "core/architecture/tokenizer_files.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/kernels/convert.h"
#include "core/transform/view_read.h"

namespace quant {
namespace {

// Of a conversion's buffer.
constexpr int64_t kChunkElements = 1 << 16;

int64_t SizeOf(DType dtype) { return DTypeBits(dtype) / 8; }

// Rows and columns of a permuted tensor; a bias has one column.
int64_t RowsOf(const GgufMapping& mapping) { return mapping.shape[0]; }
int64_t ColsOf(const GgufMapping& mapping) {
  return mapping.shape.size() == 2 ? mapping.shape[1] : 1;
}

// The row of the source that row `row` of the file is.
int64_t SourceRow(const GgufMapping& mapping, int64_t row) {
  const int64_t d = RowsOf(mapping) / mapping.heads;
  const int64_t in_head = row % d;
  return row - in_head + in_head % 2 * (d / 2) + in_head / 2;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ConvertedModel>>
ConvertedModel::CreateWithoutTokenizer(const ModelReader& source) {
  QUANT_ASSIGN_OR_RETURN(DecoderConfig config,
                         ParseDecoderConfig(source.config_json()));
  auto model = std::unique_ptr<ConvertedModel>(
      new ConvertedModel(source, std::move(config)));
  QUANT_ASSIGN_OR_RETURN(GgufMap map,
                         MapToGguf(model->config_, source.tensors()));
  QUANT_RETURN_IF_ERROR(model->Adopt(std::move(map)));
  model->kvs_ = GgufConfigKvs(model->config_);
  return model;
}

absl::StatusOr<std::unique_ptr<ConvertedModel>> ConvertedModel::Create(
    const ModelReader& source) {
  QUANT_ASSIGN_OR_RETURN(auto model, CreateWithoutTokenizer(source));
  const absl::Status status = model->AddTokenizerKvs();
  if (!status.ok()) return Annotate(status, source.path());
  return model;
}

absl::Status ConvertedModel::AddTokenizerKvs() {
  QUANT_ASSIGN_OR_RETURN(const TokenizerTexts texts,
                         ReadTokenizerTexts(source_));
  QUANT_ASSIGN_OR_RETURN(const TokenizerFiles files,
                         ParseTokenizerFiles(texts));
  const auto embedding = std::find_if(
      tensors_.begin(), tensors_.end(),
      [](const TensorEntry& t) { return t.name == "token_embd.weight"; });
  QUANT_ASSIGN_OR_RETURN(const std::vector<GgufKv> tokenizer,
                         GgufTokenizerKvs(files, config_, embedding->shape[0]));
  kvs_.insert(kvs_.end(), tokenizer.begin(), tokenizer.end());
  return absl::OkStatus();
}

absl::Status ConvertedModel::Adopt(GgufMap map) {
  std::vector<int> by_name(map.tensors.size());
  std::iota(by_name.begin(), by_name.end(), 0);
  std::sort(by_name.begin(), by_name.end(), [&](int a, int b) {
    return map.tensors[a].name < map.tensors[b].name;
  });
  for (int index : by_name) {
    GgufMapping& mapping = map.tensors[index];
    TensorEntry entry = {
        .name = mapping.name, .dtype = mapping.dtype, .shape = mapping.shape};
    const auto bytes = TensorBytes(mapping.dtype, mapping.shape);
    if (!bytes) {
      return ModelMalformed(
          absl::StrCat("tensor \"", mapping.name, "\": is too large"));
    }
    entry.bytes = *bytes;
    if (!mapping.tensors.empty()) {
      const TensorEntry& first = source_.tensors()[mapping.tensors[0]];
      entry.file = first.file;
      entry.offset = first.offset;
    }
    tensors_.push_back(std::move(entry));
    mappings_.push_back(std::move(mapping));
  }
  dropped_ = std::move(map.dropped);
  return absl::OkStatus();
}

absl::Status ConvertedModel::Read(const TensorEntry& tensor, int64_t begin,
                                  absl::Span<uint8_t> out) const {
  const int64_t size = static_cast<int64_t>(out.size());
  QUANT_ASSIGN_OR_RETURN(const ElementRange read,
                         ElementsOfRead(tensors_, tensor, begin, size));
  const GgufMapping& mapping = mappings_[read.index];
  const int64_t first = read.first, last = read.last;
  if (mapping.source == GgufSource::kGenerated) {
    if (size > 0) std::memcpy(out.data(), &mapping.values[first], size);
    return absl::OkStatus();
  }
  const DType from = source_.tensors()[mapping.tensors[0]].dtype;
  if (from == mapping.dtype && !mapping.adds_one) {
    return Gather(mapping, first, last, out.data());
  }
  return Convert(mapping, first, last, out.data());
}

absl::Status ConvertedModel::Convert(const GgufMapping& mapping, int64_t begin,
                                     int64_t end, uint8_t* out) const {
  const DType from = source_.tensors()[mapping.tensors[0]].dtype;
  const int64_t chunk = std::min(kChunkElements, end - begin);
  std::vector<uint8_t> raw(chunk * SizeOf(from));
  std::vector<float> values(chunk);
  for (int64_t at = begin; at < end; at += chunk) {
    const int64_t count = std::min(chunk, end - at);
    QUANT_RETURN_IF_ERROR(Gather(mapping, at, at + count, raw.data()));
    ConvertToF32(from, raw.data(), count, values.data());
    if (mapping.adds_one) {
      for (int64_t i = 0; i < count; ++i) values[i] += 1.0f;
    }
    std::memcpy(out + (at - begin) * sizeof(float), values.data(),
                count * sizeof(float));
  }
  return absl::OkStatus();
}

absl::Status ConvertedModel::Gather(const GgufMapping& mapping, int64_t begin,
                                    int64_t end, uint8_t* out) const {
  if (mapping.heads > 0) return GatherPermuted(mapping, begin, end, out);
  if (mapping.source == GgufSource::kWhole) {
    return ReadSource(mapping.tensors[0], begin, end - begin, out);
  }
  // [E, rows, cols]: what one expert has.
  const int64_t slice = mapping.shape[1] * mapping.shape[2];
  const int64_t size = SizeOf(source_.tensors()[mapping.tensors[0]].dtype);
  for (int64_t at = begin; at < end;) {
    const int64_t expert = at / slice;
    const int64_t offset = at % slice;
    const int64_t count = std::min(end - at, slice - offset);
    int tensor = mapping.tensors[0];
    int64_t element = offset;
    if (mapping.source == GgufSource::kStacked) {
      tensor = mapping.tensors[expert];
    } else {
      const bool second = mapping.source == GgufSource::kSecondHalf;
      element += (2 * expert + (second ? 1 : 0)) * slice;
    }
    QUANT_RETURN_IF_ERROR(
        ReadSource(tensor, element, count, out + (at - begin) * size));
    at += count;
  }
  return absl::OkStatus();
}

absl::Status ConvertedModel::GatherPermuted(const GgufMapping& mapping,
                                            int64_t begin, int64_t end,
                                            uint8_t* out) const {
  const int64_t cols = ColsOf(mapping);
  const int64_t d = RowsOf(mapping) / mapping.heads;
  const int64_t size = SizeOf(source_.tensors()[mapping.tensors[0]].dtype);
  for (int64_t at = begin; at < end;) {
    const int64_t row = at / cols;
    const int64_t col = at % cols;
    uint8_t* const to = out + (at - begin) * size;
    int64_t count = std::min(end - at, cols - col);
    if (col == 0 && count == cols) {
      const int64_t rows = std::min((end - at) / cols, d - row % d);
      QUANT_RETURN_IF_ERROR(ReadRowsOfHead(mapping, row, rows, to));
      count = rows * cols;
    } else {
      QUANT_RETURN_IF_ERROR(ReadSource(
          mapping.tensors[0], SourceRow(mapping, row) * cols + col, count, to));
    }
    at += count;
  }
  return absl::OkStatus();
}

// Even and odd rows of a head are each consecutive in the source.
absl::Status ConvertedModel::ReadRowsOfHead(const GgufMapping& mapping,
                                            int64_t row, int64_t rows,
                                            uint8_t* out) const {
  const int64_t cols = ColsOf(mapping);
  const int64_t bytes =
      cols * SizeOf(source_.tensors()[mapping.tensors[0]].dtype);
  std::vector<uint8_t> scratch((rows + 1) / 2 * bytes);
  for (int64_t first = row; first < std::min(row + 2, row + rows); ++first) {
    const int64_t count = (row + rows - first + 1) / 2;
    QUANT_RETURN_IF_ERROR(ReadSource(mapping.tensors[0],
                                     SourceRow(mapping, first) * cols,
                                     count * cols, scratch.data()));
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(out + (first - row + 2 * i) * bytes,
                  scratch.data() + i * bytes, bytes);
    }
  }
  return absl::OkStatus();
}

absl::Status ConvertedModel::ReadSource(int tensor, int64_t element,
                                        int64_t count, uint8_t* out) const {
  const TensorEntry& entry = source_.tensors()[tensor];
  const int64_t size = SizeOf(entry.dtype);
  return source_.Read(entry, element * size, absl::MakeSpan(out, count * size));
}

}  // namespace quant

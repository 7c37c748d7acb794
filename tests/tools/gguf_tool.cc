// gguf_tool: GGUF files through the core alone, for the programs of others to
// compare with.
//
//   gguf_tool random OUT.gguf      keys of every type; for every tensor type a
//                                  tensor of its name, of random weights, and
//                                  beside it NAME.source, those weights in F32
//   gguf_tool floats IN.gguf OUT.gguf
//                                  the same keys; every tensor decoded to F32
//                                  (integers stay as they are)
//   gguf_tool imatrix IN OUT.gguf  the means of an importance matrix as tensors
//                                  [experts, columns], its counts beside them
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/container/gguf.h"
#include "core/container/gguf_model.h"
#include "core/container/imatrix.h"
#include "core/kernels/convert.h"
#include "core/kernels/ggml_blocks.h"
#include "core/tensor/float_formats.h"

namespace quant {
namespace {

struct Tensor {
  GgufTensor entry;
  std::vector<uint8_t> bytes;
};

absl::Status Write(const std::string& path, absl::Span<const GgufKv> kvs,
                   const std::vector<Tensor>& tensors) {
  std::vector<GgufTensor> entries;
  for (const Tensor& tensor : tensors) entries.push_back(tensor.entry);
  QUANT_ASSIGN_OR_RETURN(const GgufLayout layout,
                         LayOutGguf(kvs, std::move(entries)));
  QUANT_ASSIGN_OR_RETURN(const File file, File::OpenWrite(path));
  QUANT_RETURN_IF_ERROR(file.Truncate(0));
  QUANT_RETURN_IF_ERROR(file.Truncate(layout.file_size));
  const auto* header = reinterpret_cast<const uint8_t*>(layout.header.data());
  QUANT_RETURN_IF_ERROR(
      file.WriteAt(0, absl::MakeConstSpan(header, layout.header.size())));
  for (size_t i = 0; i < tensors.size(); ++i) {
    QUANT_RETURN_IF_ERROR(
        file.WriteAt(layout.tensors[i].begin, tensors[i].bytes));
  }
  return absl::OkStatus();
}

Tensor FloatTensor(std::string name, Shape shape,
                   const std::vector<float>& values) {
  Tensor tensor{.entry = {.name = std::move(name), .shape = std::move(shape)},
                .bytes = std::vector<uint8_t>(values.size() * sizeof(float))};
  std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

// Weights as they are met: normal, with a few outliers.
std::vector<float> RandomWeights(int64_t count, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, 0.02f);
  std::vector<float> values(count);
  for (float& value : values) {
    value = normal(random);
    if (random() % 256 == 0) value *= 8;
  }
  return values;
}

void EncodeRow(GgmlType type, const float* x, int64_t n, uint8_t* out) {
  switch (type) {
    case GgmlType::kF32:
      std::memcpy(out, x, n * sizeof(float));
      return;
    case GgmlType::kF16:
    case GgmlType::kBF16:
      for (int64_t i = 0; i < n; ++i) {
        const uint16_t bits =
            type == GgmlType::kF16 ? F32ToF16(x[i]) : F32ToBf16(x[i]);
        std::memcpy(out + 2 * i, &bits, sizeof(bits));
      }
      return;
    default:
      GgmlKernelsOf(type).encode(x, n, nullptr, SearchLevel::kDefault, out);
  }
}

bool CanEncode(GgmlType type) {
  return type == GgmlType::kF32 || type == GgmlType::kF16 ||
         type == GgmlType::kBF16 || GgmlKernelsOf(type).encode != nullptr;
}

std::vector<GgufKv> KeysOfAllTypes() {
  return {
      {"general.architecture", std::string("none")},
      {"u8", uint8_t{255}},
      {"i8", int8_t{-128}},
      {"u16", uint16_t{65535}},
      {"i16", int16_t{-32768}},
      {"u32", ~uint32_t{0}},
      {"i32", std::numeric_limits<int32_t>::min()},
      {"f32", 0.1f},
      {"bool", true},
      {"u64", ~uint64_t{0}},
      {"i64", std::numeric_limits<int64_t>::min()},
      {"f64", 0.1},
      {"array.u8", std::vector<uint8_t>{0, 255}},
      {"array.i16", std::vector<int16_t>{-1, 1}},
      {"array.i32", std::vector<int32_t>{-7, 7}},
      {"array.f32", std::vector<float>{0.5f, -0.0f}},
      {"array.bool", std::vector<bool>{true, false}},
      {"array.string", std::vector<std::string>{"", "\xE2\x96\x81the", "x"}},
      {"array.f64", std::vector<double>{1e300}},
  };
}

absl::Status Random(const std::string& path) {
  constexpr int64_t kRows = 64, kCols = 1024;
  std::mt19937 random(1);
  std::vector<Tensor> tensors;
  for (const GgmlTypeInfo& info : GgmlTypes()) {
    if (!CanEncode(info.type)) continue;
    const std::vector<float> source = RandomWeights(kRows * kCols, random);
    const Shape shape = {kRows, kCols};
    const int64_t row_bytes = kCols / info.block_elems * info.block_bytes;
    Tensor tensor{.entry = {.name = std::string(info.name),
                            .type = info.type,
                            .shape = shape},
                  .bytes = std::vector<uint8_t>(kRows * row_bytes)};
    for (int64_t row = 0; row < kRows; ++row) {
      EncodeRow(info.type, source.data() + row * kCols, kCols,
                tensor.bytes.data() + row * row_bytes);
    }
    tensors.push_back(std::move(tensor));
    tensors.push_back(
        FloatTensor(absl::StrCat(info.name, ".source"), shape, source));
  }
  return Write(path, KeysOfAllTypes(), tensors);
}

absl::StatusOr<Tensor> Decoded(const GgufModel& model,
                               const TensorEntry& entry) {
  std::vector<uint8_t> bytes(entry.bytes);
  QUANT_RETURN_IF_ERROR(model.Read(entry, 0, absl::MakeSpan(bytes)));
  std::vector<float> values(*NumElements(entry.shape));
  const int64_t count = static_cast<int64_t>(values.size());
  if (entry.block_type) {
    const DecodeBlocks decode = GgmlKernelsOf(*entry.block_type).decode;
    if (decode == nullptr) {
      return absl::UnimplementedError(absl::StrCat(TypeName(entry)));
    }
    decode(bytes.data(), count, values.data());
  } else if (IsWeightFloat(entry.dtype)) {
    ConvertToF32(entry.dtype, bytes.data(), count, values.data());
  } else {
    return Tensor{.entry = {.name = entry.name,
                            .type = *GgmlTypeOf(entry.dtype),
                            .shape = entry.shape},
                  .bytes = std::move(bytes)};
  }
  return FloatTensor(entry.name, entry.shape, values);
}

absl::Status Floats(const std::string& in, const std::string& out) {
  QUANT_ASSIGN_OR_RETURN(const std::string path, ResolvePath(in));
  QUANT_ASSIGN_OR_RETURN(const auto model, GgufModel::OpenFile(path));
  std::vector<Tensor> tensors;
  for (const TensorEntry& entry : model->tensors()) {
    QUANT_ASSIGN_OR_RETURN(Tensor tensor, Decoded(*model, entry));
    tensors.push_back(std::move(tensor));
  }
  return Write(out, model->kvs(), tensors);
}

absl::Status Means(const std::string& in, const std::string& out) {
  QUANT_ASSIGN_OR_RETURN(const Imatrix matrix, ReadImatrix(in));
  std::vector<Tensor> tensors;
  for (const auto& [name, entry] : matrix.entries) {
    const std::vector<float> counts(entry.counts.begin(), entry.counts.end());
    const int64_t columns =
        static_cast<int64_t>(entry.means.size()) / entry.experts();
    tensors.push_back(
        FloatTensor(name, {entry.experts(), columns}, entry.means));
    tensors.push_back(FloatTensor(name + ".counts", {entry.experts()}, counts));
  }
  const std::vector<GgufKv> kvs = {{"datasets", matrix.datasets},
                                   {"chunks", matrix.chunks},
                                   {"chunk_tokens", matrix.chunk_tokens}};
  return Write(out, kvs, tensors);
}

}  // namespace
}  // namespace quant

int main(int argc, char** argv) {
  CLI::App app("Writes and decodes GGUF files");
  app.require_subcommand(1);
  std::string in, out;
  CLI::App* random = app.add_subcommand("random", "All types, random weights");
  random->add_option("OUT", out)->required();
  CLI::App* floats = app.add_subcommand("floats", "Every tensor as F32");
  floats->add_option("IN", in)->required();
  floats->add_option("OUT", out)->required();
  CLI::App* means = app.add_subcommand("imatrix", "An importance matrix");
  means->add_option("IN", in)->required();
  means->add_option("OUT", out)->required();
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = *random  ? quant::Random(out)
                              : *means ? quant::Means(in, out)
                                       : quant::Floats(in, out);
  if (status.ok()) return 0;
  std::fprintf(stderr, "gguf_tool: %s\n",
               std::string(status.message()).c_str());
  return 1;
}

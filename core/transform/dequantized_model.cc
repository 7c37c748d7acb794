#include "core/transform/dequantized_model.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/kernels/ggml_blocks.h"

namespace quant {
namespace {

constexpr int64_t kFloatBytes = 4;
// Values that are decoded at a time: whole blocks of every type.
constexpr int64_t kChunkValues = 4096;

class Dequantized final : public ModelReader {
 public:
  explicit Dequantized(const ModelReader& source)
      : source_(source), tensors_(source.tensors()) {
    for (TensorEntry& tensor : tensors_) {
      if (!tensor.block_type) continue;
      tensor.block_type.reset();
      tensor.dtype = DType::kF32;
      tensor.bytes = *NumElements(tensor.shape) * kFloatBytes;
    }
  }

  const std::vector<TensorEntry>& tensors() const override { return tensors_; }
  const std::vector<WeightFile>& files() const override {
    return source_.files();
  }
  const std::string& config_json() const override {
    return source_.config_json();
  }
  const std::vector<SideFile>& side_files() const override {
    return source_.side_files();
  }
  absl::Span<const GgufKv> kvs() const override { return source_.kvs(); }
  absl::Status CheckUnchanged() const override {
    return source_.CheckUnchanged();
  }
  const std::string& path() const override { return source_.path(); }
  std::string weight_path(int file) const override {
    return source_.weight_path(file);
  }

  absl::Status Read(const TensorEntry& tensor, int64_t begin,
                    absl::Span<uint8_t> out) const override {
    const TensorEntry& source = source_.tensors()[IndexOf(tensor)];
    if (!source.block_type) return source_.Read(source, begin, out);
    return Decode(source, begin, out);
  }

 private:
  // `tensor` is one of ours, or a copy: names are unique and sorted.
  size_t IndexOf(const TensorEntry& tensor) const {
    const auto it =
        std::lower_bound(tensors_.begin(), tensors_.end(), tensor.name,
                         [](const TensorEntry& entry, const std::string& name) {
                           return entry.name < name;
                         });
    return it - tensors_.begin();
  }

  absl::Status Decode(const TensorEntry& source, int64_t begin,
                      absl::Span<uint8_t> out) const {
    const GgmlTypeInfo& info = InfoOf(*source.block_type);
    const DecodeBlocks decode = GgmlKernelsOf(info.type).decode;
    std::vector<uint8_t> blocks(kChunkValues / info.block_elems *
                                info.block_bytes);
    std::vector<float> values(kChunkValues);
    const int64_t end = begin + static_cast<int64_t>(out.size());
    int64_t at = begin;
    while (at < end) {
      // The chunk of whole blocks that holds byte `at` of the floats.
      const int64_t first = at / kFloatBytes / kChunkValues * kChunkValues;
      const int64_t count =
          std::min(kChunkValues, *NumElements(source.shape) - first);
      const auto bytes = absl::MakeSpan(blocks).first(count / info.block_elems *
                                                      info.block_bytes);
      QUANT_RETURN_IF_ERROR(source_.Read(
          source, first / info.block_elems * info.block_bytes, bytes));
      decode(bytes.data(), count, values.data());
      const int64_t skip = at - first * kFloatBytes;
      const int64_t n = std::min(count * kFloatBytes - skip, end - at);
      std::memcpy(out.data() + (at - begin),
                  reinterpret_cast<const uint8_t*>(values.data()) + skip, n);
      at += n;
    }
    return absl::OkStatus();
  }

  const ModelReader& source_;
  std::vector<TensorEntry> tensors_;
};

}  // namespace

bool HasBlocks(const ModelReader& model) {
  return std::any_of(
      model.tensors().begin(), model.tensors().end(),
      [](const TensorEntry& tensor) { return tensor.block_type.has_value(); });
}

absl::StatusOr<std::unique_ptr<ModelReader>> DequantizedModel(
    const ModelReader& source) {
  for (const TensorEntry& tensor : source.tensors()) {
    if (!tensor.block_type || GgmlKernelsOf(*tensor.block_type).decode) {
      continue;
    }
    return MakeError(absl::StatusCode::kUnimplemented, Reason::kUnsupported,
                     absl::StrCat("tensor \"", tensor.name, "\" is ",
                                  InfoOf(*tensor.block_type).name,
                                  ", which this version does not decode"));
  }
  return std::unique_ptr<ModelReader>(std::make_unique<Dequantized>(source));
}

}  // namespace quant

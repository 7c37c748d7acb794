// A Hugging Face checkpoint as GGUF files show it: other names, experts
// stacked, rows of q and k permuted, one added to norms. Nothing is copied:
// every read gathers from the source.
//
// Legend: E experts, d rows of one head, element = one value of a tensor.
#ifndef QUANT_CORE_TRANSFORM_CONVERTED_MODEL_H_
#define QUANT_CORE_TRANSFORM_CONVERTED_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/architecture/decoder_config.h"
#include "core/architecture/gguf_names.h"
#include "core/container/gguf_value.h"
#include "core/container/model_reader.h"

namespace quant {

// As thread-safe as the source, which must outlive it. Entries of tensors() say
// where their (first) source lies; generated tensors lie nowhere.
class ConvertedModel final : public ModelReader {
 public:
  // Reads the tokenizer's files too. See ParseDecoderConfig, MapToGguf and
  // GgufTokenizerKvs for the errors.
  static absl::StatusOr<std::unique_ptr<ConvertedModel>> Create(
      const ModelReader& source);
  // The same without the tokenizer's keys: for looking at values.
  static absl::StatusOr<std::unique_ptr<ConvertedModel>> CreateWithoutTokenizer(
      const ModelReader& source);

  const DecoderConfig& config() const { return config_; }
  // Of the config and the tokenizer.
  absl::Span<const GgufKv> kvs() const override { return kvs_; }
  // Source tensors without a place in the file.
  const std::vector<GgufDropped>& dropped() const { return dropped_; }

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
  // Any range of whole elements.
  absl::Status Read(const TensorEntry& tensor, int64_t begin,
                    absl::Span<uint8_t> out) const override;
  absl::Status CheckUnchanged() const override {
    return source_.CheckUnchanged();
  }
  const std::string& path() const override { return source_.path(); }
  std::string weight_path(int file) const override {
    return source_.weight_path(file);
  }

 private:
  ConvertedModel(const ModelReader& source, DecoderConfig config)
      : source_(source), config_(std::move(config)) {}

  absl::Status Adopt(GgufMap map);
  absl::Status AddTokenizerKvs();
  // Elements [begin, end) as the source has them, rewritten in place and order
  // but not in type.
  absl::Status Gather(const GgufMapping& mapping, int64_t begin, int64_t end,
                      uint8_t* out) const;
  absl::Status GatherPermuted(const GgufMapping& mapping, int64_t begin,
                              int64_t end, uint8_t* out) const;
  absl::Status ReadRowsOfHead(const GgufMapping& mapping, int64_t row,
                              int64_t rows, uint8_t* out) const;
  absl::Status Convert(const GgufMapping& mapping, int64_t begin, int64_t end,
                       uint8_t* out) const;
  absl::Status ReadSource(int tensor, int64_t element, int64_t count,
                          uint8_t* out) const;

  const ModelReader& source_;
  const DecoderConfig config_;
  std::vector<TensorEntry> tensors_;   // sorted by name
  std::vector<GgufMapping> mappings_;  // one per tensor
  std::vector<GgufKv> kvs_;
  std::vector<GgufDropped> dropped_;
};

}  // namespace quant

#endif  // QUANT_CORE_TRANSFORM_CONVERTED_MODEL_H_

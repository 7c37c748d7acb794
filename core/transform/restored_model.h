// A GGUF model as the Hugging Face checkpoint that it was made of: the inverse
// of converted_model.h. Names, experts one by one, rows of q and k in their
// order, norms less one, config.json and the tokenizer's files made of the
// keys. Nothing is copied: every read gathers from the source.
//
// What a file can't say comes back in its plainest form: Mistral as Llama,
// embeddings that were tied but stored twice as two. A norm w of Gemma is
// stored as 1 + w in float32; it comes back exactly where that sum is exact,
// which for BF16 is |w| >= 2^-16, and else within 2^-24.
//
// Legend: E experts, d rows of one head, element = one value of a tensor.
#ifndef QUANT_CORE_TRANSFORM_RESTORED_MODEL_H_
#define QUANT_CORE_TRANSFORM_RESTORED_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/architecture/hf_names.h"
#include "core/container/model_reader.h"

namespace quant {

// As thread-safe as the source, which must outlive it and hold floats only (see
// DequantizedModel). Entries of tensors() say where their source lies.
class RestoredModel final : public ModelReader {
 public:
  // See MakeHfConfig, ParseDecoderConfig, MapFromGguf and MakeHfTokenizer for
  // the errors.
  static absl::StatusOr<std::unique_ptr<RestoredModel>> Create(
      const ModelReader& source);
  // The same without the tokenizer's files: for looking at values.
  static absl::StatusOr<std::unique_ptr<RestoredModel>> CreateWithoutTokenizer(
      const ModelReader& source);

  const std::vector<TensorEntry>& tensors() const override { return tensors_; }
  const std::vector<WeightFile>& files() const override {
    return source_.files();
  }
  const std::string& config_json() const override { return config_json_; }
  const std::vector<SideFile>& side_files() const override {
    return source_.side_files();
  }
  absl::Span<const MadeFile> made_files() const override { return made_; }
  absl::Span<const std::string> notes() const override { return notes_; }
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
  explicit RestoredModel(const ModelReader& source) : source_(source) {}

  absl::Status Describe();
  absl::Status MakeTokenizer();
  absl::Status Adopt(std::vector<HfMapping> mappings);
  absl::StatusOr<std::vector<float>> ReadFactors(const char* name) const;
  // Elements [begin, end) of the tensor, as the source has them.
  absl::Status Gather(const HfMapping& mapping, int64_t begin, int64_t end,
                      uint8_t* out) const;
  absl::Status GatherRows(const HfMapping& mapping, int64_t row, int64_t rows,
                          uint8_t* out) const;
  absl::Status ReadSource(const HfMapping& mapping, int64_t element,
                          int64_t count, uint8_t* out) const;

  const ModelReader& source_;
  std::vector<TensorEntry> tensors_;  // sorted by name
  std::vector<HfMapping> mappings_;   // one per tensor
  std::string config_json_;
  std::vector<MadeFile> made_;
  std::vector<std::string> notes_;
};

}  // namespace quant

#endif  // QUANT_CORE_TRANSFORM_RESTORED_MODEL_H_

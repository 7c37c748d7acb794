// A model that is nothing but a configuration and a list of tensors.
#ifndef QUANT_TESTS_FUZZ_MEMORY_MODEL_H_
#define QUANT_TESTS_FUZZ_MEMORY_MODEL_H_

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/container/model_reader.h"
#include "tests/fuzz/targets.h"

namespace quant::fuzz {

class MemoryModel final : public ModelReader {
 public:
  explicit MemoryModel(std::string config) : config_(std::move(config)) {}

  // A tensor whose bytes are those of `text`, again and again. False when there
  // is one of this name, or its size is beyond what files can have.
  bool Add(TensorEntry tensor, std::string text) {
    const auto bytes = TensorBytes(tensor.dtype, tensor.shape);
    if (!bytes) return false;
    tensor.bytes = *bytes;
    tensor.file = static_cast<int>(texts_.size());
    const auto at = std::lower_bound(
        tensors_.begin(), tensors_.end(), tensor,
        [](const auto& a, const auto& b) { return a.name < b.name; });
    if (at != tensors_.end() && at->name == tensor.name) return false;
    tensors_.insert(at, std::move(tensor));
    texts_.push_back(text.empty() ? std::string(1, '\0') : std::move(text));
    return true;
  }

  const std::vector<TensorEntry>& tensors() const override { return tensors_; }
  const std::vector<WeightFile>& files() const override { return files_; }
  const std::string& config_json() const override { return config_; }
  const std::vector<SideFile>& side_files() const override {
    return side_files_;
  }
  absl::Status Read(const TensorEntry& tensor, int64_t begin,
                    absl::Span<uint8_t> out) const override {
    QUANT_FUZZ_CHECK(begin >= 0);
    QUANT_FUZZ_CHECK(begin + static_cast<int64_t>(out.size()) <= tensor.bytes);
    const std::string& text = texts_[tensor.file];
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = static_cast<uint8_t>(text[(begin + i) % text.size()]);
    }
    return absl::OkStatus();
  }
  absl::Status CheckUnchanged() const override { return absl::OkStatus(); }
  const std::string& path() const override { return path_; }
  std::string weight_path(int file) const override { return ""; }

 private:
  std::string config_;
  std::string path_ = "/nowhere";
  std::vector<TensorEntry> tensors_;
  std::vector<std::string> texts_;
  std::vector<WeightFile> files_;
  std::vector<SideFile> side_files_;
};

}  // namespace quant::fuzz

#endif  // QUANT_TESTS_FUZZ_MEMORY_MODEL_H_

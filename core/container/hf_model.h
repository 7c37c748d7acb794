// Safetensors models behind the ModelReader interface.
#ifndef QUANT_CORE_CONTAINER_HF_MODEL_H_
#define QUANT_CORE_CONTAINER_HF_MODEL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/container/model_reader.h"
#include "core/container/weight_files.h"

namespace quant {

class HfModel final : public ModelReader {
 public:
  // `directory` is resolved. See OpenModel for the errors.
  static absl::StatusOr<std::unique_ptr<HfModel>> OpenDirectory(
      const std::string& directory);
  // One weight file, called `name`; `path` is resolved.
  static absl::StatusOr<std::unique_ptr<HfModel>> OpenFile(
      const std::string& path, const std::string& name);

  const std::vector<TensorEntry>& tensors() const override { return tensors_; }
  const std::vector<WeightFile>& files() const override {
    return weights_.files();
  }
  const std::string& config_json() const override { return config_json_; }
  const std::vector<SideFile>& side_files() const override {
    return side_files_;
  }
  absl::Status Read(const TensorEntry& tensor, int64_t begin,
                    absl::Span<uint8_t> out) const override {
    return weights_.Read(tensor, begin, out);
  }
  absl::Status CheckUnchanged() const override {
    return weights_.CheckUnchanged();
  }
  const std::string& path() const override { return path_; }
  std::string weight_path(int file) const override {
    return weights_.path(file);
  }

 private:
  explicit HfModel(std::string path) : path_(std::move(path)) {}

  absl::Status OpenShards(const std::string& index_path);
  // Appends the file and its tensors.
  absl::Status AddFile(const std::string& path, const std::string& name);

  std::string path_;
  std::vector<TensorEntry> tensors_;
  WeightFiles weights_;
  std::string config_json_;
  std::vector<SideFile> side_files_;
};

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_HF_MODEL_H_

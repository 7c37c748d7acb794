// Safetensors models behind the ModelReader interface.
#ifndef QUANT_CORE_CONTAINER_HF_MODEL_H_
#define QUANT_CORE_CONTAINER_HF_MODEL_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/file.h"
#include "core/container/model_reader.h"

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
  const std::vector<WeightFile>& files() const override { return files_; }
  const std::string& config_json() const override { return config_json_; }
  const std::vector<SideFile>& side_files() const override {
    return side_files_;
  }
  absl::Status Read(const TensorEntry& tensor, int64_t begin,
                    absl::Span<uint8_t> out) const override;
  absl::Status CheckUnchanged() const override;
  const std::string& path() const override { return path_; }
  std::string weight_path(int file) const override { return paths_[file]; }

 private:
  explicit HfModel(std::string path) : path_(std::move(path)) {}

  absl::Status OpenShards(const std::string& index_path);
  // Appends the file and its tensors.
  absl::Status AddFile(const std::string& path, const std::string& name);
  absl::Status CheckFileUnchanged(int file) const;

  std::string path_;
  std::vector<TensorEntry> tensors_;
  std::vector<WeightFile> files_;
  std::vector<std::string> paths_;  // resolved, one per file
  // One per file; empty beyond the first kMaxOpenFiles, which are opened for
  // each read.
  std::vector<std::optional<File>> open_;
  std::string config_json_;
  std::vector<SideFile> side_files_;
};

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_HF_MODEL_H_

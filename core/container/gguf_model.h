// GGUF models behind the ModelReader interface.
#ifndef QUANT_CORE_CONTAINER_GGUF_MODEL_H_
#define QUANT_CORE_CONTAINER_GGUF_MODEL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/container/gguf.h"
#include "core/container/gguf_split.h"
#include "core/container/model_reader.h"
#include "core/container/weight_files.h"

namespace quant {

class GgufModel final : public ModelReader {
 public:
  // The file `path`, or the model whose first file it is: the others lie
  // beside it. `path` is absolute but need not be resolved: names in it count.
  // INVALID_ARGUMENT for another file of a split model; else see OpenModel.
  static absl::StatusOr<std::unique_ptr<GgufModel>> OpenFile(
      const std::string& path);
  // `directory` is resolved; `name` is in it. With the side files.
  static absl::StatusOr<std::unique_ptr<GgufModel>> OpenInDirectory(
      const std::string& directory, const std::string& name,
      absl::Span<const DirEntry> entries);

  // The model's keys, in file order: those of the first file, without the ones
  // that describe the file itself (general.alignment, split.*).
  absl::Span<const GgufKv> kvs() const override { return kvs_; }

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
  GgufModel() = default;

  absl::Status OpenFiles(const std::string& path);
  // Opens the other files of a split model.
  absl::Status OpenRest(const std::string& directory, const std::string& name,
                        const SplitKeys& first);
  // Appends the file and its tensors; returns its keys.
  absl::StatusOr<std::vector<GgufKv>> AddFile(const std::string& path,
                                              const std::string& name);
  absl::Status SortTensors();

  std::string path_;
  std::vector<GgufKv> kvs_;
  std::vector<TensorEntry> tensors_;
  WeightFiles weights_;
  std::string config_json_;  // stays empty: keys take its place
  std::vector<SideFile> side_files_;
};

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_GGUF_MODEL_H_

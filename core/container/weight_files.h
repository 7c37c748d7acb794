// The open weight files of a model: exact reads, and whether the files are
// still those that were opened.
#ifndef QUANT_CORE_CONTAINER_WEIGHT_FILES_H_
#define QUANT_CORE_CONTAINER_WEIGHT_FILES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/file.h"
#include "core/container/model_reader.h"

namespace quant {

// Opens a regular file; DATA_LOSS MODEL_MALFORMED for others: opening a pipe
// would wait for its writer.
absl::StatusOr<File> OpenWeightFile(const std::string& path);

// Reads may come from many threads; adding may not.
class WeightFiles {
 public:
  // Takes over `file`, opened by its resolved path.
  void Add(File file, WeightFile description);

  const std::vector<WeightFile>& files() const { return files_; }
  const std::string& path(int file) const { return paths_[file]; }
  // See ModelReader.
  absl::Status Read(const TensorEntry& tensor, int64_t begin,
                    absl::Span<uint8_t> out) const;
  absl::Status CheckUnchanged() const;

 private:
  absl::Status CheckFileUnchanged(int file) const;

  std::vector<WeightFile> files_;
  std::vector<std::string> paths_;  // resolved, one per file
  // One per file; empty beyond the first kMaxOpenFiles, which are opened for
  // each read.
  std::vector<std::optional<File>> open_;
};

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_WEIGHT_FILES_H_

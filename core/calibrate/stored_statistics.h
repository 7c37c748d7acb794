// Statistics that were kept (statistics_files.h), for another job.
#ifndef QUANT_CORE_CALIBRATE_STORED_STATISTICS_H_
#define QUANT_CORE_CALIBRATE_STORED_STATISTICS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/file.h"
#include "core/calibrate/input_summary.h"
#include "core/calibrate/statistics.h"
#include "core/container/safetensors.h"
#include "core/network/block.h"
#include "core/tokenizer/dataset.h"

namespace quant {

// One block's file.
class StatisticsBlock {
 public:
  // FAILED_PRECONDITION SOURCE_CHANGED when they are of other weights.
  absl::Status CheckWeights(Block& block) const;

  // Of the inputs of `module`, which has so many columns. DATA_LOSS
  // MODEL_MALFORMED when they are missing, have another shape, or values that
  // no inputs have.
  absl::StatusOr<InputStatistics> Read(const std::string& module,
                                       int64_t columns,
                                       bool with_hessian) const;

  // Of all its weights.
  absl::StatusOr<InputSummaries> Summaries() const;

 private:
  friend class StoredStatistics;
  StatisticsBlock(File file, SafetensorsHeader header)
      : file_(std::move(file)), header_(std::move(header)) {}

  template <typename T>
  absl::StatusOr<std::vector<T>> ReadTensor(const std::string& name,
                                            DType dtype,
                                            const Shape& shape) const;

  File file_;
  SafetensorsHeader header_;
};

class StoredStatistics {
 public:
  // Whether `path` is a directory of statistics.
  static bool IsAt(const std::string& path);

  // DATA_LOSS MODEL_MALFORMED when statistics.json is not as WriteStatistics
  // makes it, or a file it names is missing or has another size.
  static absl::StatusOr<StoredStatistics> Open(const std::string& directory);

  // Without its ids.
  const DatasetFile& text() const { return text_; }
  // The text's digest is that of its ids; this is that of statistics.json.
  const std::string& sha256() const { return sha256_; }
  int64_t size_bytes() const { return size_bytes_; }
  int64_t blocks() const { return static_cast<int64_t>(digests_.size()); }
  bool has_hessians() const { return has_hessians_; }

  // Reads the whole file once. DATA_LOSS DIGEST_MISMATCH when it is not the one
  // that was written.
  absl::StatusOr<StatisticsBlock> OpenBlock(int64_t layer) const;

  // Of all weights of all blocks.
  absl::StatusOr<InputSummaries> Summaries() const;

 private:
  absl::Status Parse(const std::string& json);
  absl::Status CheckSizes(const std::vector<int64_t>& sizes) const;

  std::string directory_;
  DatasetFile text_;
  std::string sha256_;
  int64_t size_bytes_ = 0;
  bool has_hessians_ = false;
  std::vector<std::string> digests_;  // of the files of all blocks
};

}  // namespace quant

#endif  // QUANT_CORE_CALIBRATE_STORED_STATISTICS_H_

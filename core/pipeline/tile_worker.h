// One thread's part of the work: a tile from source bytes to written bytes, in
// buffers that are reused from tile to tile.
#ifndef QUANT_CORE_PIPELINE_TILE_WORKER_H_
#define QUANT_CORE_PIPELINE_TILE_WORKER_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/container/model_reader.h"
#include "core/pipeline/calibrated_codes.h"
#include "core/pipeline/output_file.h"
#include "core/pipeline/tensor_job.h"

namespace quant {

// Bytes at `offset` of a file: written when their tiles are, then kept for the
// file's hash where there are many of them.
struct WrittenBytes {
  int task = 0;
  int file = 0;
  int64_t offset = 0;
  bool kept = false;
  std::vector<uint8_t> bytes;
};

// What one tile gave, per output.
struct TileResult {
  std::vector<TensorStats> stats;  // of a reducing pass
  std::vector<ErrorSums> sums;     // of the encoding pass
  std::vector<std::vector<ByteRange>> ranges;
  std::vector<WrittenBytes> written;
  int64_t zeroed = 0;   // values that were not finite
  uint64_t digest = 0;  // over all bytes written
};

// The files of one output.
using OutputFiles = std::vector<OutputFile>;

class TileWorker {
 public:
  // All outlive the worker.
  TileWorker(const ModelReader& model, BufferPool& pool,
             const CalibratedOutputs& calibrated)
      : model_(model), pool_(pool), calibrated_(calibrated) {}

  // Reads `count` tiles from `tile` on of pass `pass` and reduces or encodes
  // them, one after the other.
  // `stats` [output]: what the passes before found.
  absl::StatusOr<std::vector<TileResult>> Run(
      const TensorJob& job, int64_t tile, int64_t count, int pass,
      const std::vector<TensorStats>& stats);

  // The digest of a finished tensor's bytes as they are in `files`, the same
  // value that its tiles gave. For resuming.
  absl::StatusOr<uint64_t> DigestOf(const TensorJob& job,
                                    const std::vector<OutputFiles>& files);

  // Scratch for hashing.
  absl::Span<uint8_t> hash_buffer();

 private:
  absl::StatusOr<TileResult> RunOne(const TensorJob& job, int64_t tile,
                                    int pass,
                                    const std::vector<TensorStats>& stats);
  absl::Status ReduceOne(const TensorJob& job, int64_t tile, int pass,
                         const std::vector<TensorStats>& stats,
                         TileResult& result);
  // Rows of several tiles to raw_, for ReadRows to take from.
  absl::Status ReadAhead(const TensorJob& job, int64_t tile, int64_t count);
  // Sets source_ to rows of a tensor, which are read unless ReadAhead has them.
  absl::Status ReadRows(const ReducedPart& part, int64_t row, int64_t rows);
  // raw_ to rows_, once per tile, with the policy for NaN and infinities.
  absl::Status Load(const TensorJob& job, const ReducedPart& part, int64_t row,
                    int64_t rows, TileResult& result);
  // raw_ to codes_, by way of rows_ where the method has no shorter one.
  absl::StatusOr<ErrorSums> Quantize(const TensorJob& job, int task,
                                     int64_t row, int64_t rows,
                                     const TensorStats& stats,
                                     TileResult& result);
  // Codes that the calibrated stage chose, to codes_.
  absl::StatusOr<ErrorSums> TakeCalibrated(const TensorJob& job, int task,
                                           int64_t row, int64_t rows,
                                           TileResult& result);
  absl::Status TakeDivided(const TensorJob& job, int task, int64_t row);
  absl::Status Encode(const TensorJob& job, int64_t row, int64_t rows,
                      const std::vector<TensorStats>& stats,
                      TileResult& result);
  // The bytes of packed_'s ranges to `result`.
  void TakeRanges(const TensorJob& job, int task, TileResult& result,
                  std::vector<uint64_t>& digests);
  // A buffer with these bytes: the one in which they lie, where it may go.
  std::vector<uint8_t> TakeBytes(absl::Span<const uint8_t> bytes, bool raw_too);

  const ModelReader& model_;
  BufferPool& pool_;
  const CalibratedOutputs& calibrated_;
  std::vector<uint8_t> raw_;    // source bytes
  int64_t ahead_row_ = 0;       // raw_ holds rows from this one on,
  int64_t ahead_rows_ = 0;      // so many; 0: what ReadRows read
  absl::Span<uint8_t> source_;  // the tile's source bytes, in raw_
  std::vector<float> rows_;     // as floats, once loaded_
  bool loaded_ = false;
  CodeTile codes_;
  PackedTile packed_;
  MethodScratch scratch_;
  std::vector<uint8_t> hash_buffer_;
};

// The digest of a tensor from those of its tiles, in order.
uint64_t CombineDigests(const std::vector<uint64_t>& digests);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_TILE_WORKER_H_

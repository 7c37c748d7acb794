// Runs a plan's tensors on a pool of threads: tiles of one tensor at a time, in
// plan order, and hashing of the output files behind them.
//
// One tensor is finished, and its journal line written, before the next one is
// begun: whatever kills the process costs at most the work on one tensor. While
// the last tiles of a tensor are still running, the other threads hash.
#ifndef QUANT_CORE_PIPELINE_TENSOR_RUNNER_H_
#define QUANT_CORE_PIPELINE_TENSOR_RUNNER_H_

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "core/pipeline/execute.h"
#include "core/pipeline/journal.h"
#include "core/pipeline/output_file.h"
#include "core/pipeline/tensor_job.h"
#include "core/pipeline/tile_worker.h"
#include "core/pipeline/write_tiles.h"

namespace quant {

class TensorRunner {
 public:
  TensorRunner(const ModelReader& model, const Plan& plan,
               const ExecuteOptions& options, Journal& journal,
               std::vector<OutputFiles>& files,
               const CalibratedOutputs& calibrated);

  // Checks the bytes of the tensors that the journal calls done; forgets those
  // that are not as recorded.
  absl::Status VerifyResumed();

  // Does what is left, until every tensor is done and every file hashed.
  absl::Status Run();

  int64_t resumed() const { return resumed_; }

 private:
  // The tensor that is being worked on.
  struct Current {
    int index = 0;
    TensorJob job;
    int pass = 0;
    int64_t next_tile = 0;  // not handed out yet
    int64_t run_tiles = 1;  // handed out together, at most
    int64_t applied = 0;    // tiles whose results are in, in order
    TileResults waiting;    // results that came early
    std::vector<TensorStats> stats;
    DoneTensor record;
    std::vector<uint64_t> digests;
  };
  struct Task {
    enum Kind { kExit, kTiles, kHash } kind = kExit;
    int64_t tile = 0;
    int64_t count = 0;
    int pass = 0;
    OutputFile* file = nullptr;
  };

  // Writes what does not depend on weights.
  absl::Status WriteFixedBytes();
  void Work(TileWorker& worker);
  absl::Status RunTask(const Task& task, TileWorker& worker);
  absl::Status RunTiles(const Task& task, TileWorker& worker);
  // Blocks until there is something to do.
  Task Next();
  // The following are called under mutex_.
  absl::Status StartTensor();
  Task TakeTiles();
  void UseSharedStats(Current& current);
  OutputFile* FileToHash(int64_t least_bytes);
  bool CopyingRunsAhead();
  bool AllHashed();
  void LimitKept(TileResult& result);
  absl::Status ApplyTiles(TileResults tiles);
  absl::Status Apply(TileResult result);
  absl::Status FinishPass();
  absl::Status FinishTensor();
  void Report(bool force);

  void MarkDone(const TensorJob& job);

  const ModelReader& model_;
  const Plan& plan_;
  const ExecuteOptions& options_;
  Journal& journal_;
  std::vector<OutputFiles>& files_;
  const CalibratedOutputs& calibrated_;
  BufferPool buffers_;

  std::mutex mutex_;
  std::condition_variable changed_;
  absl::Status status_;
  std::unique_ptr<Current> current_;
  // Found by reducing passes over merged modules, by their first part.
  std::map<const TensorEntry*, std::vector<TensorStats>> shared_stats_;
  TileResults unwritten_;        // of current_
  int64_t unwritten_bytes_ = 0;  // theirs, and those that are being written
  bool writing_ = false;
  int next_index_ = 0;
  int last_quantized_ = -1;  // only copies come after it
  int64_t done_ = 0;
  int64_t done_bytes_ = 0;
  int64_t resumed_ = 0;
  int64_t last_report_micros_ = 0;
};

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_TENSOR_RUNNER_H_

// Carries out a plan in a work directory: flat memory, resumable, cancellable,
// the same bytes at any thread count.
#ifndef QUANT_CORE_PIPELINE_EXECUTE_H_
#define QUANT_CORE_PIPELINE_EXECUTE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/thread_pool.h"
#include "core/container/model_reader.h"
#include "core/evaluate/ran_networks.h"
#include "core/method/method.h"
#include "core/pipeline/plan.h"

namespace quant {

struct ProgressUpdate {
  // "CALIBRATING", "QUANTIZING", "FINISHING", "EVALUATING"
  std::string stage;
  int64_t tensors_done = 0;
  int64_t tensors_total = 0;
  int64_t bytes_done = 0;  // source bytes, in this stage
  int64_t bytes_total = 0;
  double fraction = 0;  // of all stages, 0..1; never falls
  std::string tensor;
  int64_t tensors_resumed = 0;
  int64_t tensors_redone = 0;
};

struct ExecuteOptions {
  // Holds the lock, the journal and the outputs. Made when it is not there;
  // taken over when it holds work of the same fingerprint; started over when
  // of another. FAILED_PRECONDITION WORK_DIR_LOCKED when in use.
  std::string work_dir;
  ThreadPool* pool = nullptr;
  std::stop_token stop;  // checked between tiles; answers CANCELLED
  // Called from worker threads, one at a time, at most every 100 ms and at the
  // end of each stage.
  std::function<void(const ProgressUpdate&)> progress;
  // Called after work was made durable: a tensor, a block's codes, or the
  // figures of some windows.
  std::function<void(int64_t done)> journal;
  bool sync = true;  // fsync outputs before answering
  // How often a text's hidden states are kept on its way through a network.
  std::chrono::milliseconds keep_states_every = std::chrono::seconds(60);
};

struct ResultFile {
  std::string path;
  int64_t size_bytes = 0;
  std::string sha256;
};

struct ExecutedOutput {
  std::string name;
  std::string directory;          // finished files and nothing else
  std::vector<ResultFile> files;  // sorted by path
  // "size_bytes", "bits_per_weight", "min_sqnr_db", "sqnr_db",
  // "quantized_tensors", "overflow_count", "underflow_count",
  // "nonfinite_zeroed"; of calibrated methods also "calibrated_tensors",
  // "calibration_fallbacks", "dead_columns" and "scaled_inputs" (tensors whose
  // inputs were scaled); with static activations
  // "unseen_inputs": of weights that met no token; with an evaluation text
  // those of EvaluationMetrics. SQNRs are absent when nothing was lossy.
  std::map<std::string, double> metrics;
  std::vector<LayerFigures> layers = {};   // with an evaluation text
  std::vector<ErrorSums> errors = {};      // parallel to OutputPlan::tensors
  std::vector<EscalationStep> steps = {};  // OutputRequest::steps
};

struct ExecuteResult {
  std::vector<ExecutedOutput> outputs;
  int64_t tensors_total = 0;
  int64_t tensors_resumed = 0;  // taken over from earlier work
  int64_t tensors_redone = 0;   // begun earlier, not finished, done again
  // Of calibrated methods: blocks whose codes were taken over from earlier
  // work, and how many of those did not even run again.
  int64_t blocks_resumed = 0;
  int64_t blocks_skipped = 0;
  // The work directory held other work: another recipe or source, another
  // version of the engine, or, where bytes depend on it, another CPU's
  // instruction set. Nothing of it was used.
  bool started_over = false;
  std::map<std::string, double> stage_seconds;
  // What could not be done as hoped, for people.
  std::vector<std::string> notes;
};

// DATA_LOSS for broken sources, FAILED_PRECONDITION NONFINITE_WEIGHTS naming
// tensor and index, FAILED_PRECONDITION SOURCE_CHANGED, RESOURCE_EXHAUSTED
// STORAGE_FULL, CANCELLED.
absl::StatusOr<ExecuteResult> Execute(const ModelReader& model,
                                      const Plan& plan,
                                      const ExecuteOptions& options);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_EXECUTE_H_

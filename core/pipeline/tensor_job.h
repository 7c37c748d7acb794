// Everything that is needed to turn one source tensor into its outputs: the
// same objects for planning memory and for doing the work.
#ifndef QUANT_CORE_PIPELINE_TENSOR_JOB_H_
#define QUANT_CORE_PIPELINE_TENSOR_JOB_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/artifact/format.h"
#include "core/artifact/quantized_model.h"
#include "core/method/method.h"
#include "core/pipeline/plan.h"
#include "core/pipeline/tiling.h"

namespace quant {

// One output's part in it.
struct TensorTask {
  const TensorPlan* plan = nullptr;
  std::unique_ptr<Codec> codec;            // null: copied
  const QuantMethod* method = nullptr;     // when codec, and codes are chosen
  const ArtifactFormat* format = nullptr;  // when codec
  MethodOptions options;
  int reduce_passes = 0;
  bool shares_statistics = false;  // with all parts of the job
};

// A tensor that a reducing pass goes over.
struct ReducedPart {
  const TensorEntry* source = nullptr;
  Tiling tiling;
};

struct TensorJob {
  int index = 0;  // position in Plan::order
  const TensorEntry* source = nullptr;
  bool any_quantized = false;
  // Where the codes are that all tasks take as they are; null: tasks choose
  // them, or copy the tensor.
  const StoredWeight* codes = nullptr;
  const ModelReader* codes_model = nullptr;
  Nonfinite nonfinite = Nonfinite::kError;
  Tiling tiling;
  int passes = 1;  // over the source: reductions, then encoding
  // What reducing passes go over, one after the other: the source, or all parts
  // of its merged module in order. Tasks that share nothing use the source's.
  std::vector<ReducedPart> parts;
  std::vector<TensorTask> tasks;  // one per output of the job

  int64_t TilesOfPass(int pass) const;
  // Tile `tile` of a reducing pass: its part, and its number in that part.
  const ReducedPart& PartOf(int64_t tile, int64_t* tile_of_part) const;
  // Whether a reduced tile of `part` counts for a task.
  bool Counts(const ReducedPart& part, const TensorTask& task) const {
    return part.source == source || task.shares_statistics;
  }
  // Whether what the reducing passes find holds for all parts.
  bool all_shared() const;

  // Bytes that a tile of `rows` rows from `row` on writes to output `task`.
  std::vector<ByteRange> Ranges(int task, int64_t row, int64_t rows) const;
  // Bound on the buffers of one worker, in bytes.
  int64_t WorkerBytes() const;
};

// `index` is a position in plan.order.
absl::StatusOr<TensorJob> MakeTensorJob(const ModelReader& model,
                                        const Plan& plan, int index);

// Whether F16 or BF16 weights get F16 or BF16 scales (see IntRow::narrow).
bool IsNarrow(DType weights, DType scales);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_TENSOR_JOB_H_

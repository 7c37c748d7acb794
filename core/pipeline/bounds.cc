#include "core/pipeline/bounds.h"

#include <algorithm>

#include "core/base/status_macros.h"
#include "core/pipeline/allocate.h"
#include "core/pipeline/buffer_pool.h"
#include "core/pipeline/evaluated_stage.h"
#include "core/pipeline/tensor_job.h"
#include "core/pipeline/text_bounds.h"

namespace quant {
namespace {

// Resident memory of a process that does nothing yet, with room to spare.
constexpr int64_t kBaseMemoryBytes = 64 << 20;
// Each worker hashes through a buffer of its own.
constexpr int64_t kHashBufferBytes = 1 << 20;
// Work directory: journal, lock, directories.
constexpr int64_t kWorkDirOverheadBytes = 16 << 20;

}  // namespace

absl::Status AddBounds(const ModelReader& source, int threads, Plan& plan) {
  const ModelReader& model = ViewedModel(source, plan);
  int64_t worker = 0;
  for (size_t i = 0; i < plan.order.size(); ++i) {
    QUANT_ASSIGN_OR_RETURN(const TensorJob job,
                           MakeTensorJob(model, plan, static_cast<int>(i)));
    worker = std::max(worker, job.WorkerBytes());
  }
  int64_t names = 0;
  for (const TensorEntry& tensor : model.tensors()) {
    names += static_cast<int64_t>(tensor.name.size()) + 512;
    plan.source_bytes += tensor.bytes;
  }
  const int64_t outputs = static_cast<int64_t>(plan.outputs.size());
  plan.memory_bound_bytes =
      kBaseMemoryBytes +
      threads * (worker + kHashBufferBytes + kRunBytes + kReadAheadBytes) +
      kMaxUnwrittenBytes + BufferPool::kMaxKeptBytes +
      BufferPool::kMaxSpareBytes + names * (1 + 2 * outputs);
  for (const OutputPlan& output : plan.outputs) {
    if (output.request.target)
      plan.memory_bound_bytes += AllocationBytes(names);
  }
  plan.disk_bound_bytes = kWorkDirOverheadBytes;
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    plan.disk_bound_bytes += plan.outputs[i].total_bytes;
    for (const TextFile& text : plan.outputs[i].layout.texts) {
      plan.memory_bound_bytes += 2 * static_cast<int64_t>(text.text.size());
    }
    for (const PlannedFile& report : plan.outputs[i].reports) {
      // Beside the text, what it is made of.
      plan.memory_bound_bytes += 4 * report.size_bytes;
    }
  }
  const int64_t base = kBaseMemoryBytes + names * (1 + 2 * outputs);
  QUANT_RETURN_IF_ERROR(AddTextBounds(source, threads, base, plan));
  if (plan.evaluation == nullptr) return absl::OkStatus();
  const EvaluatedBounds bounds = BoundsOfEvaluatedStage(plan, threads);
  plan.disk_bound_bytes += bounds.disk_bytes;
  plan.memory_bound_bytes = std::max(
      plan.memory_bound_bytes,
      base + 2 * names +
          std::max(bounds.memory_bytes, plan.evaluation->text.memory_bytes));
  return absl::OkStatus();
}

}  // namespace quant

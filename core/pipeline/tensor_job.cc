#include "core/pipeline/tensor_job.h"

#include <algorithm>
#include <numeric>

#include "core/base/status_macros.h"

namespace quant {
namespace {

// Codes that are carried over: stored bytes as they are read (line by line),
// joined, turned round and unpacked, and the same for writing; at most eight
// bits each, and what the pieces cost.
constexpr int64_t kCarriedElementBytes = 10;
// Scales and zero points likewise, and what is listed per column.
constexpr int64_t kCarriedCellBytes = 32;
constexpr int64_t kCarriedColumnBytes = 16;

int64_t CarriedBytes(const TensorTask& task, int64_t rows, int64_t cols) {
  return rows * cols * kCarriedElementBytes + cols * kCarriedColumnBytes +
         task.codec->grid_rows(rows) * task.codec->grid_cols(cols) *
             kCarriedCellBytes;
}

int64_t OutputBytesPerElement(const TensorTask& task) {
  // Codes, packed bytes (float32 at most), scales and zero points.
  return task.codec ? task.codec->code_bytes() + 4 + 2 : 0;
}

// The weights of the inputs of `source`, where the codec uses them.
absl::Status AddImportance(const OutputRequest& request,
                           const TensorEntry& source, TensorTask& task) {
  const Imatrix* matrix = request.importance != nullptr
                              ? &request.importance->matrix
                              : request.measured_importance.get();
  if (matrix == nullptr || !task.codec->chooses_scales()) {
    return absl::OkStatus();
  }
  const int64_t columns = source.shape.empty() ? 1 : source.shape.back();
  const int64_t experts = source.shape.size() == 3 ? source.shape[0] : 1;
  QUANT_ASSIGN_OR_RETURN(const absl::Span<const float> weights,
                         matrix->Find(source.name, experts, columns));
  if (weights.empty()) return absl::OkStatus();
  task.options.importance = weights.data();
  task.options.matrix_rows = *NumElements(source.shape) / columns / experts;
  return absl::OkStatus();
}

// Outputs that share statistics agree on the parts: they are the source's.
void AddParts(const ModelReader& model, int64_t row_multiple, TensorJob& job) {
  if (job.passes == 1) return;
  const auto add = [&](const TensorEntry& source) {
    job.parts.push_back(
        {&source,
         RowTiling(source.shape, DTypeBits(source.dtype) / 8, row_multiple)});
  };
  for (const TensorTask& task : job.tasks) {
    if (!task.shares_statistics) continue;
    for (int part : task.plan->measured_with) add(model.tensors()[part]);
    return;
  }
  add(*job.source);
}

// How the codes of a task are chosen.
absl::Status SetMethod(const OutputRequest& request, const TensorEntry& source,
                       TensorTask& task) {
  QUANT_ASSIGN_OR_RETURN(task.method, FindMethod(request.method));
  const DType scale_type = task.format->ScaleType(source.dtype);
  task.options = {.scale = request.scale,
                  .scale_type = scale_type,
                  .narrow = IsNarrow(source.dtype, scale_type),
                  .search = request.search,
                  .calibrated = request.calibrated};
  QUANT_RETURN_IF_ERROR(AddImportance(request, source, task));
  task.reduce_passes = task.method->ReducePasses(*task.codec, task.options);
  task.shares_statistics =
      task.reduce_passes > 0 && task.plan->measured_with.size() > 1;
  return absl::OkStatus();
}

}  // namespace

bool IsNarrow(DType weights, DType scales) {
  const auto half = [](DType t) {
    return t == DType::kF16 || t == DType::kBF16;
  };
  return half(weights) && half(scales);
}

std::vector<ByteRange> TensorJob::Ranges(int task, int64_t row,
                                         int64_t rows) const {
  const TensorTask& t = tasks[task];
  if (t.codec) return t.format->TileRanges(*t.codec, *source, row, rows);
  return {{.output = 0,
           .offset = row * tiling.row_bytes,
           .bytes = rows * tiling.row_bytes}};
}

int64_t TensorJob::TilesOfPass(int pass) const {
  if (pass == passes - 1) return tiling.tiles();
  int64_t tiles = 0;
  for (const ReducedPart& part : parts) tiles += part.tiling.tiles();
  return tiles;
}

const ReducedPart& TensorJob::PartOf(int64_t tile,
                                     int64_t* tile_of_part) const {
  size_t i = 0;
  while (i + 1 < parts.size() && tile >= parts[i].tiling.tiles()) {
    tile -= parts[i++].tiling.tiles();
  }
  *tile_of_part = tile;
  return parts[i];
}

bool TensorJob::all_shared() const {
  bool shared = passes > 1;
  for (const TensorTask& task : tasks) {
    shared &= task.reduce_passes == 0 || task.shares_statistics;
  }
  return shared;
}

int64_t TensorJob::WorkerBytes() const {
  const int64_t rows = std::min(tiling.tile_rows, tiling.rows);
  if (codes != nullptr) {
    int64_t most = 0;  // tasks come one after the other
    for (const TensorTask& task : tasks) {
      most = std::max(most, CarriedBytes(task, rows, tiling.cols));
    }
    return most;
  }
  int64_t elements = rows * tiling.cols;
  int64_t bytes = rows * tiling.row_bytes;
  for (const ReducedPart& part : parts) {
    // Parts may have longer tiles, or more bytes to an element.
    const int64_t part_rows = std::min(part.tiling.tile_rows, part.tiling.rows);
    bytes = std::max(bytes, part_rows * part.tiling.row_bytes);
    elements = std::max(elements, part_rows * part.tiling.cols);
  }
  if (!any_quantized) return bytes;
  bytes += elements * 4;
  for (const TensorTask& task : tasks) {
    bytes += elements * OutputBytesPerElement(task);
    if (task.codec) {
      bytes += task.codec->grid_rows(rows) *
               task.codec->grid_cols(tiling.cols) *
               static_cast<int64_t>(sizeof(float) * 4);
    }
  }
  return bytes;
}

absl::StatusOr<TensorJob> MakeTensorJob(const ModelReader& model,
                                        const Plan& plan, int index) {
  TensorJob job;
  job.index = index;
  job.source = &model.tensors()[plan.order[index]];
  int64_t row_multiple = 1;
  int reduce_passes = 0;
  if (plan.codes != nullptr) job.codes = plan.codes->Find(job.source->name);
  if (job.codes != nullptr) {
    job.codes_model = &plan.codes->stored();
    row_multiple = job.codes->format->RowMultiple(*job.codes->codec);
  }
  for (const OutputPlan& output : plan.outputs) {
    TensorTask task;
    task.plan = &output.tensors[index];
    job.nonfinite = output.request.nonfinite;
    if (task.plan->quantized) {
      job.any_quantized = true;
      QUANT_ASSIGN_OR_RETURN(task.codec, MakeCodec(task.plan->scheme));
      QUANT_ASSIGN_OR_RETURN(task.format, FindFormat(output.request.format));
      if (job.codes == nullptr) {
        QUANT_RETURN_IF_ERROR(SetMethod(output.request, *job.source, task));
      }
      reduce_passes = std::max(reduce_passes, task.reduce_passes);
      row_multiple = std::lcm(row_multiple,
                              std::lcm(task.codec->row_multiple(),
                                       task.format->RowMultiple(*task.codec)));
    }
    job.tasks.push_back(std::move(task));
  }
  job.passes = reduce_passes + 1;
  AddParts(model, row_multiple, job);
  job.tiling = job.any_quantized
                   ? RowTiling(job.source->shape,
                               DTypeBits(job.source->dtype) / 8, row_multiple)
                   : CopyTiling(job.source->bytes);
  return job;
}

}  // namespace quant

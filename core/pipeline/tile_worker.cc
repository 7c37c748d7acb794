#include "core/pipeline/tile_worker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/codec/activations.h"
#include "core/kernels/error_sums.h"
#include "core/transform/load_rows.h"

namespace quant {
namespace {

constexpr size_t kHashBufferBytes = 1 << 18;
// Ranges from here on wait in memory until they are hashed. Smaller ones, most
// of them scales, come where the hash arrives much later.
constexpr size_t kLargeRangeBytes = 1 << 14;

float InputScaleOf(const TensorJob& job, const TensorTask& task) {
  if (task.plan->inputs == nullptr) return 1;
  float absmax = 0;
  for (float most : *task.plan->inputs) absmax = std::max(absmax, most);
  return StaticInputScale(task.plan->scheme.activations, absmax,
                          task.format->ScaleType(job.source->dtype));
}

// The kernel copies a megabyte in a third less time than four quarters of one.
// What is only copied is handed on in the buffer that it was read into, and
// codes that are carried over are read as such.
int64_t TilesReadTogether(const TensorJob& job) {
  if (!job.any_quantized || job.codes != nullptr) return 1;
  const Tiling& tiling = job.tiling;
  const int64_t rows = std::min(tiling.tile_rows, tiling.rows);
  return kReadAheadBytes / std::max<int64_t>(rows * tiling.row_bytes, 1);
}

absl::Status NonfiniteError(const TensorEntry& source, int64_t index) {
  return MakeError(
      absl::StatusCode::kFailedPrecondition, Reason::kNonfiniteWeights,
      absl::StrCat("tensor \"", source.name, "\" ", ShapeToString(source.shape),
                   ": element ", index,
                   " is NaN or infinite; mend the model, or let nonfinite be "
                   "zero (--nonfinite zero)"));
}

}  // namespace

uint64_t CombineDigests(const std::vector<uint64_t>& digests) {
  return Xxh3(
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(digests.data()),
                          digests.size() * sizeof(uint64_t)));
}

absl::Span<uint8_t> TileWorker::hash_buffer() {
  hash_buffer_.resize(kHashBufferBytes);
  return absl::MakeSpan(hash_buffer_);
}

absl::StatusOr<std::vector<TileResult>> TileWorker::Run(
    const TensorJob& job, int64_t tile, int64_t count, int pass,
    const std::vector<TensorStats>& stats) {
  std::vector<TileResult> results;
  const int64_t together = TilesReadTogether(job);
  ahead_rows_ = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (pass == job.passes - 1 && together > 1 && i % together == 0) {
      QUANT_RETURN_IF_ERROR(
          ReadAhead(job, tile + i, std::min(together, count - i)));
    }
    QUANT_ASSIGN_OR_RETURN(results.emplace_back(),
                           RunOne(job, tile + i, pass, stats));
  }
  return results;
}

absl::StatusOr<TileResult> TileWorker::RunOne(
    const TensorJob& job, int64_t tile, int pass,
    const std::vector<TensorStats>& stats) {
  TileResult result;
  if (pass < job.passes - 1) {
    QUANT_RETURN_IF_ERROR(ReduceOne(job, tile, pass, stats, result));
    return result;
  }
  const int64_t row = job.tiling.first_row(tile);
  const int64_t rows = job.tiling.rows_of(tile);
  if (job.codes != nullptr) {
    QUANT_RETURN_IF_ERROR(
        ReadCodes(*job.codes_model, *job.codes, row, rows, codes_));
  } else {
    QUANT_RETURN_IF_ERROR(ReadRows({job.source, job.tiling}, row, rows));
  }
  QUANT_RETURN_IF_ERROR(Encode(job, row, rows, stats, result));
  return result;
}

absl::Status TileWorker::ReduceOne(const TensorJob& job, int64_t tile, int pass,
                                   const std::vector<TensorStats>& stats,
                                   TileResult& result) {
  int64_t tile_of_part = 0;
  const ReducedPart& part = job.PartOf(tile, &tile_of_part);
  const int64_t row = part.tiling.first_row(tile_of_part);
  const int64_t rows = part.tiling.rows_of(tile_of_part);
  QUANT_RETURN_IF_ERROR(ReadRows(part, row, rows));
  QUANT_RETURN_IF_ERROR(Load(job, part, row, rows, result));
  result.stats.resize(job.tasks.size());
  for (size_t i = 0; i < job.tasks.size(); ++i) {
    const TensorTask& task = job.tasks[i];
    if (pass >= task.reduce_passes || !job.Counts(part, task)) continue;
    result.stats[i] =
        task.method->Reduce(pass, *task.codec, task.options, rows_.data(), rows,
                            part.tiling.cols, stats[i], scratch_);
  }
  return absl::OkStatus();
}

absl::Status TileWorker::ReadAhead(const TensorJob& job, int64_t tile,
                                   int64_t count) {
  const Tiling& tiling = job.tiling;
  ahead_row_ = tiling.first_row(tile);
  const int64_t last = tile + count - 1;
  const int64_t rows =
      tiling.first_row(last) + tiling.rows_of(last) - ahead_row_;
  // Never less: what is added again would be cleared first.
  const size_t bytes = rows * tiling.row_bytes;
  raw_.resize(std::max(raw_.size(), bytes));
  QUANT_RETURN_IF_ERROR(model_.Read(*job.source, ahead_row_ * tiling.row_bytes,
                                    absl::MakeSpan(raw_).first(bytes)));
  ahead_rows_ = rows;
  return absl::OkStatus();
}

absl::Status TileWorker::ReadRows(const ReducedPart& part, int64_t row,
                                  int64_t rows) {
  loaded_ = false;
  const int64_t row_bytes = part.tiling.row_bytes;
  if (ahead_rows_ > 0) {
    source_ = absl::MakeSpan(raw_).subspan((row - ahead_row_) * row_bytes,
                                           rows * row_bytes);
    return absl::OkStatus();
  }
  raw_.resize(rows * row_bytes);
  source_ = absl::MakeSpan(raw_);
  return model_.Read(*part.source, row * row_bytes, source_);
}

absl::Status TileWorker::Load(const TensorJob& job, const ReducedPart& part,
                              int64_t row, int64_t rows, TileResult& result) {
  if (std::exchange(loaded_, true)) return absl::OkStatus();
  const Tiling& tiling = part.tiling;
  const DType dtype = part.source->dtype;
  if (!IsWeightFloat(dtype)) return absl::OkStatus();
  LoadResult loaded;
  if (job.any_quantized) {
    rows_.resize(rows * tiling.cols);
    loaded = LoadRows(dtype, source_, job.nonfinite, absl::MakeSpan(rows_));
  }
  const bool copied_too = !job.any_quantized || loaded.first_nonfinite >= 0;
  if (copied_too) {
    const LoadResult scrubbed = ScrubNonfinite(dtype, job.nonfinite, source_);
    if (!job.any_quantized) loaded = scrubbed;
  }
  if (loaded.first_nonfinite >= 0 && job.nonfinite == Nonfinite::kError) {
    const int64_t first = row * tiling.row_bytes / (DTypeBits(dtype) / 8);
    return NonfiniteError(*part.source, first + loaded.first_nonfinite);
  }
  result.zeroed = loaded.zeroed;
  return absl::OkStatus();
}

absl::Status TileWorker::Encode(const TensorJob& job, int64_t row, int64_t rows,
                                const std::vector<TensorStats>& stats,
                                TileResult& result) {
  std::vector<uint64_t> digests;
  result.sums.resize(job.tasks.size());
  result.ranges.resize(job.tasks.size());
  for (size_t i = 0; i < job.tasks.size(); ++i) {
    const TensorTask& task = job.tasks[i];
    packed_.ranges = job.Ranges(static_cast<int>(i), row, rows);
    codes_.input_scale = InputScaleOf(job, task);
    if (job.codes != nullptr) {
      task.format->Pack(*task.codec, *job.source, codes_, packed_);
    } else if (task.codec) {
      codes_.first_row = row;
      QUANT_ASSIGN_OR_RETURN(
          result.sums[i],
          Quantize(job, static_cast<int>(i), row, rows, stats[i], result));
      task.format->Pack(*task.codec, *job.source, codes_, packed_);
    } else {
      QUANT_RETURN_IF_ERROR(
          Load(job, {job.source, job.tiling}, row, rows, result));
      packed_.data = {source_};
      if (task.plan->divided) {
        QUANT_RETURN_IF_ERROR(TakeDivided(job, static_cast<int>(i), row));
      }
    }
    TakeRanges(job, static_cast<int>(i), result, digests);
    result.ranges[i] = packed_.ranges;
  }
  result.digest = CombineDigests(digests);
  return absl::OkStatus();
}

absl::StatusOr<ErrorSums> TileWorker::Quantize(const TensorJob& job, int index,
                                               int64_t row, int64_t rows,
                                               const TensorStats& stats,
                                               TileResult& result) {
  const TensorTask& task = job.tasks[index];
  const int64_t cols = job.tiling.cols;
  codes_.column_groups.clear();
  if (task.plan->calibrated) {
    return TakeCalibrated(job, index, row, rows, result);
  }
  if (const auto sums = task.method->QuantizeSource(
          *task.codec, task.options, job.source->dtype, source_.data(), rows,
          cols, codes_, scratch_)) {
    return *sums;
  }
  QUANT_RETURN_IF_ERROR(Load(job, {job.source, job.tiling}, row, rows, result));
  return task.method->Quantize(*task.codec, task.options, stats, rows_.data(),
                               rows, cols, codes_, scratch_);
}

absl::StatusOr<ErrorSums> TileWorker::TakeCalibrated(const TensorJob& job,
                                                     int index, int64_t row,
                                                     int64_t rows,
                                                     TileResult& result) {
  const Codec& codec = *job.tasks[index].codec;
  const int64_t cols = job.tiling.cols;
  QUANT_RETURN_IF_ERROR(Load(job, {job.source, job.tiling}, row, rows, result));
  const CalibratedCodes& calibrated = *calibrated_[index];
  QUANT_RETURN_IF_ERROR(calibrated.Read(job.index, row, rows, codes_));
  QUANT_ASSIGN_OR_RETURN(const std::vector<float> factors,
                         calibrated.ReadFactors(job.index));
  QUANT_ASSIGN_OR_RETURN(const std::vector<float> divisors,
                         calibrated.ReadDivisors(job.index, row, rows));
  LaneSums lanes;
  std::vector<float> back(cols);
  for (int64_t r = 0; r < rows; ++r) {
    codec.DecodeTileRow(codes_, r, back.data());
    // As it acts where nothing is scaled.
    for (int64_t c = 0; c < cols; ++c) back[c] *= divisors[r] / factors[c];
    AddErrors(rows_.data() + r * cols, back.data(), cols, lanes);
  }
  ErrorSums sums;
  sums.noise = CombineLanes(lanes.noise);
  sums.signal = CombineLanes(lanes.signal);
  sums.max_abs_error = lanes.max_abs_error;
  return sums;
}

// Instead of the source's bytes of the tile from `row` on.
absl::Status TileWorker::TakeDivided(const TensorJob& job, int index,
                                     int64_t row) {
  const int64_t width = DTypeBits(job.source->dtype) / 8;
  const int64_t bytes = static_cast<int64_t>(source_.size());
  packed_.scratch.resize(1);
  packed_.scratch[0].resize(bytes);
  packed_.data = {absl::MakeConstSpan(packed_.scratch[0])};
  return calibrated_[index]->ReadValues(
      job.index, row * job.tiling.row_bytes / width, bytes / width,
      packed_.scratch[0].data());
}

void TileWorker::TakeRanges(const TensorJob& job, int task, TileResult& result,
                            std::vector<uint64_t>& digests) {
  // Later tasks may need the source's bytes again.
  const bool last = task + 1 == static_cast<int>(job.tasks.size());
  for (size_t i = 0; i < packed_.ranges.size(); ++i) {
    const ByteRange& range = packed_.ranges[i];
    const OutputTensor& output = job.tasks[task].plan->outputs[range.output];
    const absl::Span<const uint8_t> bytes = packed_.data[i];
    digests.push_back(Xxh3(bytes));
    WrittenBytes& written = result.written.emplace_back();
    written.task = task;
    written.file = output.file;
    written.offset = output.offset + range.offset;
    written.kept = bytes.size() >= kLargeRangeBytes;
    if (written.kept) {
      written.bytes = TakeBytes(bytes, last);
    } else {
      written.bytes.assign(bytes.begin(), bytes.end());
    }
  }
}

std::vector<uint8_t> TileWorker::TakeBytes(absl::Span<const uint8_t> bytes,
                                           bool raw_too) {
  std::vector<uint8_t> taken = pool_.Take();
  const auto swapped = [&](std::vector<uint8_t>& owner) {
    if (owner.data() != bytes.data() || owner.size() != bytes.size()) {
      return false;
    }
    taken.swap(owner);
    return true;
  };
  if (raw_too && swapped(raw_)) return taken;
  if (swapped(codes_.codes)) return taken;
  for (std::vector<uint8_t>& scratch : packed_.scratch) {
    if (swapped(scratch)) return taken;
  }
  taken.assign(bytes.begin(), bytes.end());
  return taken;
}

absl::StatusOr<uint64_t> TileWorker::DigestOf(
    const TensorJob& job, const std::vector<OutputFiles>& files) {
  std::vector<uint64_t> tiles;
  for (int64_t tile = 0; tile < job.tiling.tiles(); ++tile) {
    std::vector<uint64_t> digests;
    for (size_t i = 0; i < job.tasks.size(); ++i) {
      const auto ranges =
          job.Ranges(static_cast<int>(i), job.tiling.first_row(tile),
                     job.tiling.rows_of(tile));
      for (const ByteRange& range : ranges) {
        const OutputTensor& output = job.tasks[i].plan->outputs[range.output];
        raw_.resize(range.bytes);
        QUANT_RETURN_IF_ERROR(files[i][output.file].Read(
            output.offset + range.offset, absl::MakeSpan(raw_)));
        digests.push_back(Xxh3(raw_));
      }
    }
    tiles.push_back(CombineDigests(digests));
  }
  return CombineDigests(tiles);
}

}  // namespace quant

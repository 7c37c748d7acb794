#include "core/pipeline/tensor_runner.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// Hashing goes before tiles once this much is waiting, so that little is left
// at the end, where only one thread can hash a file.
constexpr int64_t kHashBacklogBytes = 4 << 20;
constexpr int64_t kHashTaskBytes = 8 << 20;
constexpr int64_t kReportIntervalMicros = 100'000;
constexpr int64_t kMaxRunTiles = 8;

int64_t TilesOfRun(const TensorJob& job) {
  const int64_t rows = std::min(job.tiling.tile_rows, job.tiling.rows);
  int64_t bytes = 1;
  for (size_t i = 0; i < job.tasks.size(); ++i) {
    for (const ByteRange& range : job.Ranges(static_cast<int>(i), 0, rows)) {
      bytes += range.bytes;
    }
  }
  return std::clamp<int64_t>(kRunBytes / bytes, 1, kMaxRunTiles);
}

int64_t BytesOf(const TileResult& tile) {
  int64_t bytes = 0;
  for (const WrittenBytes& written : tile.written) {
    bytes += static_cast<int64_t>(written.bytes.size());
  }
  return bytes;
}

}  // namespace

TensorRunner::TensorRunner(const ModelReader& model, const Plan& plan,
                           const ExecuteOptions& options, Journal& journal,
                           std::vector<OutputFiles>& files,
                           const CalibratedOutputs& calibrated)
    : model_(model),
      plan_(plan),
      options_(options),
      journal_(journal),
      files_(files),
      calibrated_(calibrated) {
  for (const OutputPlan& output : plan.outputs) {
    for (size_t i = 0; i < output.tensors.size(); ++i) {
      if (!output.tensors[i].quantized) continue;
      last_quantized_ = std::max(last_quantized_, static_cast<int>(i));
    }
  }
}

void TensorRunner::MarkDone(const TensorJob& job) {
  for (size_t i = 0; i < job.tasks.size(); ++i) {
    for (const OutputTensor& output : job.tasks[i].plan->outputs) {
      files_[i][output.file].MarkWritten(output.offset,
                                         output.offset + output.bytes);
    }
  }
  ++resumed_;
  ++done_;
  done_bytes_ += job.source->bytes;
}

absl::Status TensorRunner::VerifyResumed() {
  std::vector<int> done;
  for (const auto& [index, record] : journal_.done()) {
    if (index < 0 || index >= static_cast<int>(plan_.order.size()) ||
        record.outputs.size() != plan_.outputs.size()) {
      return MakeError(absl::StatusCode::kInternal, Reason::kInternal,
                       "the journal does not belong to this plan");
    }
    done.push_back(index);
  }
  std::atomic<size_t> next{0};
  options_.pool->RunOnAll([&](int) {
    TileWorker worker(model_, buffers_, calibrated_);
    while (true) {
      const size_t i = next.fetch_add(1);
      if (i >= done.size() || options_.stop.stop_requested()) return;
      auto job = MakeTensorJob(model_, plan_, done[i]);
      absl::StatusOr<uint64_t> digest =
          job.ok() ? worker.DigestOf(*job, files_) : job.status();
      std::lock_guard lock(mutex_);
      if (digest.ok() && *digest == journal_.done().at(done[i]).digest) {
        MarkDone(*job);
      } else {
        journal_.Forget(done[i]);
      }
    }
  });
  if (options_.stop.stop_requested()) {
    return absl::CancelledError("stopped while verifying earlier work");
  }
  return absl::OkStatus();
}

absl::Status TensorRunner::Run() {
  Report(/*force=*/true);
  QUANT_RETURN_IF_ERROR(WriteFixedBytes());
  options_.pool->RunOnAll([this](int) {
    TileWorker worker(model_, buffers_, calibrated_);
    Work(worker);
  });
  if (status_.ok()) Report(/*force=*/true);
  return status_;
}

absl::Status TensorRunner::WriteFixedBytes() {
  for (int index = 0; index < static_cast<int>(plan_.order.size()); ++index) {
    if (journal_.done().count(index) > 0) continue;
    QUANT_ASSIGN_OR_RETURN(const TensorJob job,
                           MakeTensorJob(model_, plan_, index));
    for (size_t i = 0; i < job.tasks.size(); ++i) {
      const TensorTask& task = job.tasks[i];
      if (!task.codec) continue;
      for (size_t o = 0; o < task.plan->outputs.size(); ++o) {
        const auto bytes = task.format->FixedBytes(*task.codec, *job.source,
                                                   static_cast<int>(o));
        if (bytes.empty()) continue;
        const OutputTensor& output = task.plan->outputs[o];
        OutputFile& file = files_[i][output.file];
        QUANT_RETURN_IF_ERROR(file.Write(output.offset, bytes));
        file.MarkWritten(output.offset, output.offset + output.bytes);
      }
    }
  }
  return absl::OkStatus();
}

void TensorRunner::Work(TileWorker& worker) {
  while (true) {
    const Task task = Next();
    if (task.kind == Task::kExit) return;
    const absl::Status status = RunTask(task, worker);
    if (status.ok()) continue;
    std::lock_guard lock(mutex_);
    if (status_.ok()) status_ = status;
    changed_.notify_all();
  }
}

absl::Status TensorRunner::RunTask(const Task& task, TileWorker& worker) {
  if (task.kind == Task::kHash) {
    const absl::Status status =
        task.file->HashNext(worker.hash_buffer(), options_.sync);
    std::lock_guard lock(mutex_);
    task.file->EndHash(buffers_);
    changed_.notify_all();
    return status;
  }
  return RunTiles(task, worker);
}

// Writing locks the file: whoever finds another thread at it leaves it the
// tiles and goes on instead of waiting for the lock.
absl::Status TensorRunner::RunTiles(const Task& task, TileWorker& worker) {
  // current_ stays as it is while one of its tiles is not applied.
  QUANT_ASSIGN_OR_RETURN(std::vector<TileResult> results,
                         worker.Run(current_->job, task.tile, task.count,
                                    task.pass, current_->stats));
  std::unique_lock lock(mutex_);
  for (int64_t i = 0; i < task.count; ++i) {
    unwritten_bytes_ += BytesOf(results[i]);
    unwritten_.emplace(task.tile + i, std::move(results[i]));
  }
  while (!unwritten_.empty() && !writing_) {
    TileResults tiles = std::exchange(unwritten_, {});
    const int64_t bytes = unwritten_bytes_;
    writing_ = true;
    lock.unlock();
    const absl::Status status = WriteTiles(files_, tiles);
    lock.lock();
    writing_ = false;
    unwritten_bytes_ -= bytes;
    QUANT_RETURN_IF_ERROR(status);
    QUANT_RETURN_IF_ERROR(ApplyTiles(std::move(tiles)));
  }
  changed_.wait(lock, [this] {
    return unwritten_bytes_ < kMaxUnwrittenBytes || !status_.ok();
  });
  return absl::OkStatus();
}

absl::Status TensorRunner::ApplyTiles(TileResults tiles) {
  for (auto& [tile, result] : tiles) LimitKept(result);
  current_->waiting.merge(tiles);
  while (current_ && !current_->waiting.empty() &&
         current_->waiting.begin()->first == current_->applied) {
    auto first = current_->waiting.extract(current_->waiting.begin());
    QUANT_RETURN_IF_ERROR(Apply(std::move(first.mapped())));
  }
  changed_.notify_all();
  return absl::OkStatus();
}

TensorRunner::Task TensorRunner::Next() {
  std::unique_lock lock(mutex_);
  while (true) {
    if (options_.stop.stop_requested() && status_.ok()) {
      status_ = absl::CancelledError("stopped between tiles");
      changed_.notify_all();
    }
    if (!status_.ok()) return {};
    if (OutputFile* file = FileToHash(kHashBacklogBytes)) {
      return {.kind = Task::kHash, .file = file};
    }
    if (!current_) {
      status_ = StartTensor();
      if (!status_.ok()) continue;
    }
    if (current_ &&
        current_->next_tile < current_->job.TilesOfPass(current_->pass) &&
        !CopyingRunsAhead()) {
      return TakeTiles();
    }
    if (OutputFile* file = FileToHash(1)) {
      return {.kind = Task::kHash, .file = file};
    }
    if (!current_ && AllHashed()) {
      changed_.notify_all();
      return {};
    }
    changed_.wait(lock);
  }
}

TensorRunner::Task TensorRunner::TakeTiles() {
  Current& c = *current_;
  // Fewer towards the end, so that the threads end about together.
  const int64_t left = c.job.TilesOfPass(c.pass) - c.next_tile;
  const int64_t share = left / (2 * options_.pool->threads());
  const int64_t count = std::clamp<int64_t>(share, 1, c.run_tiles);
  const int64_t tile = std::exchange(c.next_tile, c.next_tile + count);
  return {.kind = Task::kTiles, .tile = tile, .count = count, .pass = c.pass};
}

absl::Status TensorRunner::StartTensor() {
  const int count = static_cast<int>(plan_.order.size());
  while (next_index_ < count && !current_) {
    const int index = next_index_++;
    if (journal_.done().count(index) > 0) continue;
    auto current = std::make_unique<Current>();
    current->index = index;
    QUANT_ASSIGN_OR_RETURN(current->job, MakeTensorJob(model_, plan_, index));
    current->stats.resize(current->job.tasks.size());
    current->record.outputs.resize(current->job.tasks.size());
    current->run_tiles = TilesOfRun(current->job);
    UseSharedStats(*current);
    QUANT_RETURN_IF_ERROR(journal_.Begin(index));
    current_ = std::move(current);
    if (current_->job.tiling.tiles() == 0) {
      QUANT_RETURN_IF_ERROR(FinishTensor());
    }
  }
  return absl::OkStatus();
}

// The parts of a merged module are measured once, by whichever comes first; a
// later attempt measures again what it needs.
void TensorRunner::UseSharedStats(Current& current) {
  if (!current.job.all_shared() || current.job.parts.size() < 2) return;
  const auto it = shared_stats_.find(current.job.parts.front().source);
  if (it == shared_stats_.end()) return;
  current.stats = it->second;
  current.pass = current.job.passes - 1;
}

OutputFile* TensorRunner::FileToHash(int64_t least_bytes) {
  for (OutputFiles& output : files_) {
    for (OutputFile& file : output) {
      if (file.hashing() || file.HashableBytes() < least_bytes) continue;
      file.StartHash(kHashTaskBytes);
      return &file;
    }
  }
  return nullptr;
}

// Copies are made faster than one thread can hash them. Those at the end had
// better wait in memory than be read again by that thread, which all wait for.
bool TensorRunner::CopyingRunsAhead() {
  if (current_->index <= last_quantized_ || !buffers_.nearly_full()) {
    return false;
  }
  for (const OutputFiles& output : files_) {
    for (const OutputFile& file : output) {
      if (file.hashing()) return true;
    }
  }
  return false;
}

bool TensorRunner::AllHashed() {
  for (const OutputFiles& output : files_) {
    for (const OutputFile& file : output) {
      if (!file.hashed()) return false;
    }
  }
  return true;
}

// Results may wait for one that is slow, however many there are.
void TensorRunner::LimitKept(TileResult& result) {
  for (WrittenBytes& written : result.written) {
    if (buffers_.Keep(static_cast<int64_t>(written.bytes.size()))) continue;
    buffers_.Give(std::exchange(written.bytes, {}), 0);
  }
}

absl::Status TensorRunner::Apply(TileResult result) {
  Current& c = *current_;
  const bool encoding = c.pass == c.job.passes - 1;
  int64_t tile_of_part = 0;
  for (size_t i = 0; i < c.job.tasks.size(); ++i) {
    const TensorTask& task = c.job.tasks[i];
    if (!encoding) {
      const ReducedPart& part = c.job.PartOf(c.applied, &tile_of_part);
      if (c.pass < task.reduce_passes && c.job.Counts(part, task)) {
        task.method->Combine(c.pass, result.stats[i], c.stats[i]);
      }
      continue;
    }
    c.record.outputs[i].sums.Add(result.sums[i]);
    c.record.outputs[i].zeroed += result.zeroed;
    for (const ByteRange& range : result.ranges[i]) {
      const OutputTensor& output = task.plan->outputs[range.output];
      files_[i][output.file].MarkWritten(
          output.offset + range.offset,
          output.offset + range.offset + range.bytes);
    }
  }
  for (WrittenBytes& written : result.written) {
    if (written.bytes.empty()) continue;
    files_[written.task][written.file].Keep(written.offset,
                                            std::move(written.bytes), buffers_);
  }
  if (encoding) c.digests.push_back(result.digest);
  if (++c.applied == c.job.TilesOfPass(c.pass)) return FinishPass();
  Report(/*force=*/false);
  return absl::OkStatus();
}

absl::Status TensorRunner::FinishPass() {
  Current& c = *current_;
  if (c.pass + 1 == c.job.passes) return FinishTensor();
  ++c.pass;
  c.next_tile = 0;
  c.applied = 0;
  if (c.pass == c.job.passes - 1 && c.job.all_shared() &&
      c.job.parts.size() > 1) {
    shared_stats_[c.job.parts.front().source] = c.stats;
  }
  return absl::OkStatus();
}

absl::Status TensorRunner::FinishTensor() {
  Current& c = *current_;
  c.record.digest = CombineDigests(c.digests);
  QUANT_RETURN_IF_ERROR(journal_.Done(c.index, c.record));
  ++done_;
  done_bytes_ += c.job.source->bytes;
  current_.reset();
  if (options_.journal) options_.journal(done_);
  Report(/*force=*/false);
  return absl::OkStatus();
}

void TensorRunner::Report(bool force) {
  if (!options_.progress) return;
  const int64_t now = Clock::System().MonotonicMicros();
  if (!force && now - last_report_micros_ < kReportIntervalMicros) return;
  last_report_micros_ = now;
  ProgressUpdate update{
      .stage = "QUANTIZING",
      .tensors_done = done_,
      .tensors_total = static_cast<int64_t>(plan_.order.size()),
      .bytes_done = done_bytes_,
      .bytes_total = plan_.source_bytes,
      .tensor = "",
      .tensors_resumed = resumed_,
      .tensors_redone = journal_.redone()};
  if (current_) {
    const Current& c = *current_;
    update.tensor = c.job.source->name;
    const double tiles = static_cast<double>(c.job.TilesOfPass(c.pass));
    const double part =
        (c.pass + static_cast<double>(c.applied) / tiles) / c.job.passes;
    update.bytes_done +=
        static_cast<int64_t>(part * static_cast<double>(c.job.source->bytes));
  }
  options_.progress(update);
}

}  // namespace quant

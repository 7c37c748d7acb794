// TableJobStore's writing thread: batches, group commit, what follows a commit.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "server/queue/table_job_store.h"

namespace quant {
namespace {

// Bounds the time that a command waits for its neighbours; at 64 clients in
// flight a batch is never that full.
constexpr size_t kMaxBatch = 256;
constexpr std::chrono::milliseconds kProgressInterval{1000};
constexpr std::chrono::milliseconds kIdleWait{1000};
// The store's clock may stand still (tests) or jump: never spin, look often.
constexpr int64_t kMinDueWaitMicros = 1'000;
constexpr int64_t kMaxDueWaitMicros = 1'000'000;

// Errors that are about the storage, not about one command.
bool IsStorageError(const absl::Status& status) {
  return status.code() == absl::StatusCode::kResourceExhausted ||
         status.code() == absl::StatusCode::kUnavailable ||
         status.code() == absl::StatusCode::kDataLoss;
}

}  // namespace

void TableJobStore::Run() {
  Batch batch;
  while (NextBatch(batch)) {
    RunBatch(std::move(batch));
    batch.clear();
  }
}

TableJobStore::Steady::time_point TableJobStore::Deadline(
    Steady::time_point now) {
  Steady::time_point deadline = now + kIdleWait;
  if (progress_waits_) {
    deadline = std::min(deadline, last_progress_write_ + kProgressInterval);
  }
  if (std::optional<int64_t> due = index_.NextDueTime()) {
    int64_t wait = std::clamp<int64_t>(*due - clock_.NowMicros(),
                                       kMinDueWaitMicros, kMaxDueWaitMicros);
    deadline = std::min(deadline, now + std::chrono::microseconds(wait));
  }
  return deadline;
}

bool TableJobStore::NextBatch(Batch& batch) {
  std::unique_lock lock(mutex_);
  if (waiting_.empty() && !stopping_) {
    bool had_progress = progress_waits_;
    wake_.wait_until(lock, Deadline(Steady::now()), [&] {
      return stopping_ || !waiting_.empty() || progress_waits_ != had_progress;
    });
  }
  if (waiting_.empty() && stopping_ && !progress_waits_) return false;
  size_t count = std::min(waiting_.size(), kMaxBatch);
  for (size_t i = 0; i < count; ++i) {
    batch.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return true;
}

void TableJobStore::RunBatch(Batch batch) {
  bool progress_due = false;
  {
    std::lock_guard lock(mutex_);
    auto now = Steady::now();
    progress_due =
        progress_waits_ &&
        (stopping_ || now >= last_progress_write_ + kProgressInterval);
    if (progress_due) {
      progress_waits_ = false;
      last_progress_write_ = now;
    }
  }
  // Progress that can't be written is still in memory, and comes again.
  if (progress_due) {
    batch.push_back({[](JobCommands& c) { return c.WriteProgress(); },
                     [](absl::Status) {}});
  }
  if (index_.TakeDue(clock_.NowMicros())) feed_.NotifyClaimable();
  if (batch.empty()) return;
  std::vector<absl::Status> answers(batch.size());
  absl::Status failure = Transact(batch, answers);
  if (failure.ok()) return Publish(std::move(batch), std::move(answers));
  if (!IsStorageError(failure) && batch.size() > 1) {
    // One command spoiled it: find out which by giving each its own.
    for (Command& command : batch) {
      Batch alone;
      alone.push_back(std::move(command));
      std::vector<absl::Status> answer(1);
      absl::Status failed = Transact(alone, answer);
      if (!failed.ok()) answer[0] = failed;
      Publish(std::move(alone), std::move(answer));
    }
    return;
  }
  std::fill(answers.begin(), answers.end(), failure);
  Publish(std::move(batch), std::move(answers));
}

absl::Status TableJobStore::Transact(const Batch& batch,
                                     std::vector<absl::Status>& answers) {
  QUANT_RETURN_IF_ERROR(commands_->Begin());
  for (size_t i = 0; i < batch.size(); ++i) {
    answers[i] = batch[i].run(*commands_);
    if (!commands_->storage_error().ok()) {
      absl::Status failure = commands_->storage_error();
      commands_->Rollback();
      return failure;
    }
  }
  const int64_t start = clock_.MonotonicMicros();
  QUANT_RETURN_IF_ERROR(commands_->Commit());
  if (commands_->wrote()) {
    const int64_t micros = clock_.MonotonicMicros() - start;
    if (options_.committed) {
      options_.committed(static_cast<double>(micros) * 1e-6);
    }
    ++commits_;
    committed_commands_ += static_cast<int64_t>(batch.size());
  }
  repeats_ += commands_->repeats();
  fenced_ += commands_->fenced();
  return absl::OkStatus();
}

void TableJobStore::Publish(Batch batch, std::vector<absl::Status> answers) {
  std::vector<std::function<void()>> tasks;
  tasks.reserve(batch.size());
  for (size_t i = 0; i < batch.size(); ++i) {
    tasks.push_back([done = std::move(batch[i].done),
                     answer = std::move(answers[i])]() mutable {
      done(std::move(answer));
    });
  }
  feed_.Post(std::move(tasks));
  for (const std::string& id : commands_->changed()) feed_.NotifyDurable(id);
  if (commands_->claimable()) feed_.NotifyClaimable();
}

}  // namespace quant

#include "server/worker/memory_budget.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/bytes.h"
#include "core/base/error.h"

namespace quant {

MemoryBudget::Share::Share(MemoryBudget& budget, int64_t bytes,
                           std::function<void()> on_grant)
    : budget_(budget), bytes_(bytes), on_grant_(std::move(on_grant)) {}

MemoryBudget::Share::~Share() { budget_.GiveBack(*this); }

bool MemoryBudget::Share::granted() const {
  std::lock_guard lock(budget_.mutex_);
  return granted_;
}

absl::StatusOr<std::unique_ptr<MemoryBudget::Share>> MemoryBudget::Ask(
    int64_t bytes, std::function<void()> on_grant) {
  if (limit_ > 0 && bytes > limit_) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, Reason::kPlanRefused,
        absl::StrCat("the job needs up to ", FormatBytes(bytes),
                     " of memory; --memory-limit of this server is ",
                     FormatBytes(limit_)));
  }
  std::unique_ptr<Share> share(new Share(*this, bytes, std::move(on_grant)));
  std::lock_guard lock(mutex_);
  // Behind those who wait, even if it would fit: nobody waits for ever.
  if (waiting_.empty() && (limit_ == 0 || bytes <= limit_ - granted_bytes_)) {
    share->granted_ = true;
    granted_bytes_ += bytes;
  } else {
    waiting_.push_back(share.get());
  }
  return share;
}

int64_t MemoryBudget::granted_bytes() const {
  std::lock_guard lock(mutex_);
  return granted_bytes_;
}

void MemoryBudget::GiveBack(Share& share) {
  std::lock_guard lock(mutex_);
  if (share.granted_) {
    granted_bytes_ -= share.bytes_;
  } else {
    waiting_.remove(&share);
  }
  GrantLocked();
}

void MemoryBudget::GrantLocked() {
  while (!waiting_.empty() &&
         waiting_.front()->bytes_ <= limit_ - granted_bytes_) {
    Share& first = *waiting_.front();
    waiting_.pop_front();
    first.granted_ = true;
    granted_bytes_ += first.bytes_;
    first.on_grant_();
  }
}

}  // namespace quant

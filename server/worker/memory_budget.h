// How much memory running attempts may take together: each asks for the bound
// of its plan and waits until it fits, in the order of asking.
#ifndef QUANT_SERVER_WORKER_MEMORY_BUDGET_H_
#define QUANT_SERVER_WORKER_MEMORY_BUDGET_H_

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>

#include "absl/status/statusor.h"

namespace quant {

// Thread-safe. Outlives its shares.
class MemoryBudget {
 public:
  // What one attempt asked for; its destruction gives it back.
  class Share {
   public:
    ~Share();
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    bool granted() const;

   private:
    friend class MemoryBudget;
    Share(MemoryBudget& budget, int64_t bytes, std::function<void()> on_grant);

    MemoryBudget& budget_;
    const int64_t bytes_;
    const std::function<void()> on_grant_;
    bool granted_ = false;
  };

  // `limit_bytes` 0: no limit.
  explicit MemoryBudget(int64_t limit_bytes) : limit_(limit_bytes) {}

  // `on_grant` is called when a share that had to wait is granted, from the
  // thread that gives memory back; it must not call the budget.
  // FAILED_PRECONDITION PLAN_REFUSED when `bytes` can never fit.
  absl::StatusOr<std::unique_ptr<Share>> Ask(int64_t bytes,
                                             std::function<void()> on_grant);

  int64_t limit_bytes() const { return limit_; }
  int64_t granted_bytes() const;

 private:
  void GiveBack(Share& share);
  void GrantLocked();

  const int64_t limit_;
  mutable std::mutex mutex_;
  int64_t granted_bytes_ = 0;
  std::list<Share*> waiting_;  // in the order of asking
};

}  // namespace quant

#endif  // QUANT_SERVER_WORKER_MEMORY_BUDGET_H_

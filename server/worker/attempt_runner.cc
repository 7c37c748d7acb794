#include "server/worker/attempt_runner.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/recipe/rpc_status.h"
#include "core/recipe/schedule.h"
#include "server/worker/attempt_log.h"
#include "server/worker/attempt_protocol.h"

namespace quant {
namespace {

constexpr int64_t kNever = INT64_MAX;

int64_t Now() { return Clock::System().MonotonicMicros(); }

// Outlives the attempt: a heartbeat may be answered after its end.
struct LeaseState {
  std::atomic<int64_t> confirmed{0};
  std::atomic<bool> lost{false};
  std::atomic<bool> cancel{false};
};

class Runner {
 public:
  Runner(const AttemptHost& host, const JobRecord& job, ChildProcess child)
      : host_(host), job_(job), child_(std::move(child)), log_(host.log) {
    lease_->confirmed = Now();
  }

  AttemptEnd Run(const worker::v1::AttemptRequest& request) {
    // A change of the job may be a cancellation.
    const uint64_t subscription = host_.jobs.Subscribe(
        job_.id, [lease = lease_, this](const JobStore::Change& change) {
          if (!change.durable) return;
          changed_ = true;
          host_.waker.Wake();
        });
    changed_ = true;  // one may have come before the subscription
    if (request.spec().has_timeout()) {
      deadline_ = Now() + ToMicros(request.spec().timeout());
    }
    if (SendMessage(child_.fd(), request).ok()) {
      Loop();
    } else {
      child_.Kill();
    }
    host_.jobs.Unsubscribe(subscription);
    end_.exit_text = child_.Reap();
    end_.lease_lost = lease_->lost;
    return std::move(end_);
  }

 private:
  void Loop() {
    int64_t next_heartbeat = Now() + host_.timing.heartbeat_micros;
    while (true) {
      pollfd items[2] = {
          {.fd = child_.fd(), .events = POLLIN, .revents = 0},
          {.fd = host_.waker.fd(), .events = POLLIN, .revents = 0}};
      const int64_t wait = std::clamp<int64_t>(
          (std::min({next_heartbeat, kill_at_, deadline_}) - Now()) / 1000 + 1,
          0, 1000);
      ::poll(items, 2, static_cast<int>(wait));
      if (items[1].revents != 0) host_.waker.Clear();
      if (items[0].revents != 0 && !ReadEvent()) return;
      LetGo();
      if (Now() >= next_heartbeat) {
        Heartbeat();
        next_heartbeat = Now() + host_.timing.heartbeat_micros;
      }
      CheckLease();
      CheckStop();
      CheckDeadline();
    }
  }

  // False at the end of the stream.
  bool ReadEvent() {
    worker::v1::AttemptEvent event;
    const absl::StatusOr<bool> received = ReceiveMessage(child_.fd(), event);
    // What sends no messages may never end by itself.
    if (!received.ok()) child_.Kill();
    if (!received.ok() || !*received) return false;
    switch (event.kind_case()) {
      case worker::v1::AttemptEvent::kProgress:
        log_.Progress(event.progress());
        host_.jobs.Progress(job_.id, job_.lease_token,
                       event.progress().SerializeAsString());
        break;
      case worker::v1::AttemptEvent::kJournal:
        end_.journal_advanced = true;
        break;
      case worker::v1::AttemptEvent::kResult:
        end_.result = std::move(*event.mutable_result());
        break;
      case worker::v1::AttemptEvent::kError:
        end_.error = std::move(*event.mutable_error());
        break;
      case worker::v1::AttemptEvent::kConfined:
        end_.unconfined = event.confined().missing();
        break;
      case worker::v1::AttemptEvent::kLog:
        log_.Line(event.log());
        break;
      case worker::v1::AttemptEvent::kPlanned:
        AskForMemory(event.planned().memory_bound_bytes());
        break;
      default:
        break;
    }
    return true;
  }

  void AskForMemory(int64_t bytes) {
    // A plan has one bound, asked for once.
    if (share_ != nullptr || bytes < 0) return child_.Kill();
    auto share = host_.memory.Ask(bytes, [this] { host_.waker.Wake(); });
    if (!share.ok()) {
      end_.error = ToRpcStatus(share.status());
      child_.Kill();
      return;
    }
    share_ = *std::move(share);
    if (share_->granted()) return;
    waits_since_ = Now();
    v1::Progress waiting;
    waiting.set_stage("WAITING_FOR_MEMORY");
    host_.jobs.Progress(job_.id, job_.lease_token, waiting.SerializeAsString());
  }

  // Once the share is granted. A child that is gone ends its stream.
  void LetGo() {
    if (share_ == nullptr || gone_ || !share_->granted()) return;
    gone_ = true;
    if (waits_since_ != 0 && deadline_ != kNever) {
      deadline_ += Now() - waits_since_;
    }
    (void)SendMessage(child_.fd(), worker::v1::AttemptGo());
  }

  void Heartbeat() {
    host_.jobs.Heartbeat(
        job_.id, job_.lease_token,
        [lease = lease_](absl::StatusOr<JobRecord> answer) {
          if (answer.ok()) {
            lease->confirmed = Now();
            if (answer->state == JobState::kCancelling) {
              lease->cancel = true;
            }
          } else if (GetReason(answer.status()) == Reason::kLeaseLost) {
            lease->lost = true;
          }
        });
  }

  void CheckLease() {
    if (Now() - lease_->confirmed > host_.timing.give_up_micros) {
      lease_->lost = true;
    }
    if (lease_->lost) child_.Kill();
  }

  void CheckStop() {
    if (changed_.exchange(false)) {
      const absl::StatusOr<JobRecord> now = host_.jobs.Get(job_.id);
      if (now.ok() && now->state == JobState::kCancelling) {
        lease_->cancel = true;
      }
      if (now.ok() && now->lease_token != job_.lease_token) {
        lease_->lost = true;
        child_.Kill();
      }
    }
    const bool cancel = lease_->cancel;
    const bool drain =
        host_.draining || host_.jobs.Control().mode == QueueMode::kDraining;
    if ((cancel || drain) && !asked_) {
      asked_ = true;
      log_.Stopping(cancel ? "cancelled" : "drained");
      end_.cancel_requested = cancel;
      end_.drained = !cancel;
      child_.AskToStop();
      kill_at_ = Now() + host_.timing.stop_grace_micros;
    }
    if (Now() >= kill_at_) child_.Kill();
  }

  // What waits for memory works on nothing.
  void CheckDeadline() {
    const bool waits = waits_since_ != 0 && !gone_;
    if (waits || Now() < deadline_) return;
    end_.timed_out = true;
    child_.Kill();
  }

  const AttemptHost& host_;
  const JobRecord& job_;
  ChildProcess child_;
  AttemptLog log_;
  std::shared_ptr<LeaseState> lease_ = std::make_shared<LeaseState>();
  std::atomic<bool> changed_{false};
  std::unique_ptr<MemoryBudget::Share> share_;
  bool gone_ = false;        // the child has its AttemptGo
  int64_t waits_since_ = 0;  // for memory
  bool asked_ = false;
  int64_t kill_at_ = kNever;
  int64_t deadline_ = kNever;
  AttemptEnd end_;
};

}  // namespace

Waker::Waker() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
Waker::~Waker() { ::close(fd_); }

void Waker::Wake() {
  const uint64_t one = 1;
  (void)!::write(fd_, &one, sizeof(one));
}

void Waker::Clear() {
  uint64_t count;
  (void)!::read(fd_, &count, sizeof(count));
}

AttemptEnd RunInChild(const AttemptHost& host, const JobRecord& job,
                      const worker::v1::AttemptRequest& request,
                      ChildProcess child) {
  return Runner(host, job, std::move(child)).Run(request);
}

}  // namespace quant

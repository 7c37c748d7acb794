// What the reactors of all streams have in common: a CallScope, one end, and a
// life that lasts until gRPC says OnDone and the last executor step let go.
//
//   Launch -> Begin -> ... -> EndLocked (exactly one counts) -> OnDone
//
// After the end nothing is started on the stream any more. A cancelled stream
// ends at once: Server::Shutdown waits for every reactor that has not.
#ifndef QUANT_SERVER_API_STREAM_REACTOR_H_
#define QUANT_SERVER_API_STREAM_REACTOR_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <mutex>
#include <utility>

#include "core/base/error.h"
#include "server/api/call.h"

namespace quant {

// Reactor: grpc::ServerWriteReactor<...> or grpc::ServerReadReactor<...>.
template <typename Reactor>
class StreamReactor : public Reactor, public TickedStream {
 public:
  // Admits the stream and begins it, or ends it with the reason why not.
  template <typename Derived>
  static Reactor* Launch(std::shared_ptr<Derived> stream) {
    StreamReactor* base = stream.get();
    base->self_ = stream;
    absl::Status admitted = base->scope_.Admit(*base->context_);
    if (admitted.ok()) admitted = base->Join(stream);
    if (admitted.ok()) {
      base->Begin();
    } else {
      base->End(admitted);
    }
    // Begin may have ended it, but OnDone waits until gRPC has the reactor.
    return stream.get();
  }

  void Drain() override {
    End(MakeError(absl::StatusCode::kUnavailable, Reason::kServerDraining,
                  "the server is stopping; come back in a moment"));
  }

  void Tick(int64_t now) override {
    std::lock_guard lock(mutex_);
    if (!ended_) {
      TickLocked(now);
    } else if (!done_ && now - end_time_ > kLingerMicros) {
      // A peer that reads nothing would keep the status for ever.
      context_->TryCancel();
      end_time_ = now;
    }
  }

 protected:
  StreamReactor(const ApiEnv& env, const CallInfo& method,
                grpc::CallbackServerContext* context)
      : env_(env), context_(context), scope_(env, method) {}

  // Who reads or writes; from Begin on.
  const Principal& caller() const { return *scope_.caller(); }

  virtual void Begin() = 0;
  // Under mutex_, several times per second, until the end.
  virtual void TickLocked(int64_t now) = 0;
  // Under mutex_, once.
  virtual void EndedLocked(const absl::Status& status) {}
  // gRPC is through with the stream; executor steps may still run.
  virtual void Released() {}

  void End(const absl::Status& status) {
    std::lock_guard lock(mutex_);
    EndLocked(status);
  }
  void EndLocked(const absl::Status& status) {
    if (ended_) return;
    MarkEndedLocked(status);
    this->Finish(scope_.Close(status));
  }
  // For ends that are not a plain Finish: the caller finishes the reactor.
  grpc::Status EndedWithLocked(const absl::Status& status) {
    MarkEndedLocked(status);
    return scope_.Close(status);
  }

  // A step of the stream on the executor; keeps the stream alive.
  template <typename Step>
  void Continue(Step step) {
    env_.io.Continue(
        [keep = self_, step = std::move(step)]() mutable { step(); });
  }

  const ApiEnv& env_;
  grpc::CallbackServerContext* const context_;
  std::mutex mutex_;
  bool ended_ = false;
  bool done_ = false;
  // From Launch to OnDone; read under mutex_ or before the end.
  std::shared_ptr<void> self_;

 private:
  static constexpr int64_t kLingerMicros = 60'000'000;

  absl::Status TakeStream() {
    if (env_.limiter == nullptr || caller().role == Role::kNobody) {
      return absl::OkStatus();
    }
    absl::Status taken = env_.limiter->TakeStream(caller());
    counted_ = taken.ok();
    return taken;
  }

  absl::Status Join(const std::shared_ptr<TickedStream>& stream) {
    absl::Status joined = TakeStream();
    const auto kind = caller().role == Role::kNobody ? Streams::Kind::kAnonymous
                                                     : Streams::Kind::kKnown;
    if (joined.ok()) joined = env_.streams.Add(stream, kind);
    if (!joined.ok()) {
      env_.metrics.rpc.Rejected(std::string(ReasonName(GetReason(joined))));
    }
    return joined;
  }

  void MarkEndedLocked(const absl::Status& status) {
    ended_ = true;
    end_time_ = env_.clock.MonotonicMicros();
    EndedLocked(status);
  }

  void OnCancel() final {
    End(MakeError(absl::StatusCode::kCancelled, Reason::kCancelled,
                  "the caller has left"));
  }

  void OnDone() final {
    std::shared_ptr<void> keep;
    {
      std::lock_guard lock(mutex_);
      done_ = true;
      keep = std::move(self_);
    }
    env_.streams.Remove(this);
    if (counted_) env_.limiter->GiveBackStream(caller());
    Released();
    // The last step may close files: not here.
    env_.io.Continue([keep = std::move(keep)]() mutable { keep.reset(); });
  }

  CallScope scope_;
  bool counted_ = false;  // by the limiter; set before the stream begins
  int64_t end_time_ = 0;
};

}  // namespace quant

#endif  // QUANT_SERVER_API_STREAM_REACTOR_H_

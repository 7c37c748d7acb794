#include "server/api/call.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "server/api/grpc_status.h"
#include "server/telemetry/log.h"

namespace quant {
namespace {

// Owns itself: lives from the call to OnDone, which gRPC calls after Finish.
class UnaryReactor final : public grpc::ServerUnaryReactor {
 public:
  UnaryReactor(const ApiEnv& env, const CallInfo& method)
      : scope_(env, method) {}

  CallScope& scope() { return scope_; }
  void Answer(const absl::Status& status) { Finish(scope_.Close(status)); }
  void OnDone() override { delete this; }

 private:
  CallScope scope_;
};

// What can't be read, or comes twice, is as if it had not come.
TraceContext TraceOf(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto [begin, end] = metadata.equal_range("traceparent");
  if (begin == end || std::next(begin) != end) return NewTrace();
  const absl::string_view text(begin->second.data(), begin->second.size());
  return ParseTraceparent(text).value_or(NewTrace());
}

absl::Status Dispatch(const ApiEnv& env, Lane lane, Executor::Task task) {
  switch (lane) {
    case Lane::kIo:
      return env.io.Submit(std::move(task));
    case Lane::kCompute:
      return env.compute.Submit(std::move(task));
    case Lane::kInline:
      break;
  }
  task();
  return absl::OkStatus();
}

}  // namespace

CallScope::CallScope(const ApiEnv& env, const CallInfo& method)
    : env_(env),
      method_(method),
      metrics_(env.metrics.rpc.Method(method.name)),
      start_(env.clock.MonotonicMicros()) {
  metrics_.Started();
}

CallScope::~CallScope() {
  if (!closed_) Close(absl::CancelledError("the call was abandoned"));
}

absl::Status CallScope::Admit(const grpc::CallbackServerContext& context) {
  absl::StatusOr<PrincipalPtr> caller = Authorize(env_, method_.name, context);
  absl::Status status = caller.status();
  if (status.ok()) {
    trace_ = TraceOf(context);
    caller_ = *std::move(caller);
    status = CheckDraining();
    if (status.ok()) status = TakeCall();
  }
  if (!status.ok()) {
    env_.metrics.rpc.Rejected(std::string(ReasonName(GetReason(status))));
  }
  return status;
}

absl::Status CallScope::TakeCall() const {
  // Probes come without credentials, and must not be turned away.
  if (env_.limiter == nullptr || caller_->role == Role::kNobody) {
    return absl::OkStatus();
  }
  return env_.limiter->TakeCall(*caller_);
}

absl::Status CallScope::CheckDraining() const {
  if (method_.while_draining == WhileDraining::kServed ||
      !env_.streams.draining()) {
    return absl::OkStatus();
  }
  return MakeError(absl::StatusCode::kUnavailable, Reason::kServerDraining,
                   "the server is stopping and takes no new work");
}

grpc::Status CallScope::Close(const absl::Status& status) {
  closed_ = true;
  const int64_t micros = env_.clock.MonotonicMicros() - start_;
  metrics_.Handled(status.code(), static_cast<double>(micros) * 1e-6);
  const bool damaged = absl::IsDataLoss(status) &&
                       GetReason(status) == Reason::kDigestMismatch;
  if (absl::IsInternal(status) || damaged) {
    Log(LogLevel::kError, "call_failed",
        {{"method", method_.name},
         {"trace_id", trace_.trace_id},
         {"reason", ReasonName(GetReason(status))},
         {"msg", status.message()}});
  }
  return ToGrpcStatus(status);
}

UnaryCall::~UnaryCall() {
  Finish(MakeError(absl::StatusCode::kInternal, Reason::kInternal,
                   "the call was dropped unanswered"));
}

void UnaryCall::Finish(const absl::Status& status) {
  if (!finished_.exchange(true)) finish_(status);
}

bool UnaryCall::cancelled() const {
  // After Finish the context may be gone.
  return !finished_ && context_->IsCancelled();
}

grpc::ServerUnaryReactor* Handle(const ApiEnv& env, const CallInfo& method,
                                 grpc::CallbackServerContext* context,
                                 std::function<void(UnaryCallPtr)> body) {
  auto* reactor = new UnaryReactor(env, method);
  auto call = std::make_shared<UnaryCall>(
      context,
      [reactor](const absl::Status& status) { reactor->Answer(status); });
  if (absl::Status admitted = reactor->scope().Admit(*context);
      !admitted.ok()) {
    call->Finish(admitted);
    return reactor;
  }
  call->SetOrigin(reactor->scope().caller(), reactor->scope().trace());
  absl::Status queued =
      Dispatch(env, method.lane, [call, body = std::move(body)] {
        // No work for a caller who has left while the call was waiting.
        if (call->cancelled()) {
          call->Finish(MakeError(absl::StatusCode::kCancelled,
                                 Reason::kCancelled, "the caller has left"));
          return;
        }
        body(call);
      });
  if (!queued.ok()) {
    env.metrics.rpc.Rejected(std::string(ReasonName(GetReason(queued))));
    call->Finish(queued);
  }
  return reactor;
}

grpc::ServerUnaryReactor* HandleNow(const ApiEnv& env, const CallInfo& method,
                                    grpc::CallbackServerContext* context,
                                    std::function<absl::Status(Caller)> body) {
  return Handle(env, method, context,
                [body = std::move(body)](UnaryCallPtr call) {
                  call->Finish(body(call->caller()));
                });
}

}  // namespace quant

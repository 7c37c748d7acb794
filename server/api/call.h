// The one way into the server: every call of every service, unary or streaming,
// is a CallScope. It counts the call, tells who calls and whether they may,
// refuses it while the server drains where the method says so, and turns the
// outcome into a grpc::Status with details.
//
// gRPC callbacks never block: Handle runs the body of a unary method on an
// executor.
#ifndef QUANT_SERVER_API_CALL_H_
#define QUANT_SERVER_API_CALL_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "core/base/trace_context.h"
#include "server/api/access.h"
#include "server/api/env.h"

namespace quant {

// Who calls, as bodies of methods get it.
using Caller = const Principal&;

enum class Lane {
  kInline,   // cheap and non-blocking: on the callback's thread
  kIo,       // may read stores and files
  kCompute,  // may take seconds of CPU
};

enum class WhileDraining { kServed, kRefused };

struct CallInfo {
  const char* name;  // "quant.v1.JobService/CreateJob"
  Lane lane = Lane::kIo;
  WhileDraining while_draining = WhileDraining::kServed;
};

class CallScope {
 public:
  CallScope(const ApiEnv& env, const CallInfo& method);
  // A scope that nobody closed counts as CANCELLED.
  ~CallScope();
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

  // Before anything else is looked at: UNAUTHENTICATED, PERMISSION_DENIED;
  // UNAVAILABLE SERVER_DRAINING, where the method says so;
  // RESOURCE_EXHAUSTED RATE_LIMITED. Counts refusals.
  absl::Status Admit(const grpc::CallbackServerContext& context);
  // Of an admitted call.
  const PrincipalPtr& caller() const { return caller_; }
  // That of the call's metadata, or one that begins with it.
  const TraceContext& trace() const { return trace_; }
  // Counts the outcome; what to finish the call with. Once per call.
  grpc::Status Close(const absl::Status& status);

 private:
  absl::Status CheckDraining() const;
  absl::Status TakeCall() const;

  const ApiEnv& env_;
  const CallInfo method_;
  RpcMethodMetrics& metrics_;
  const int64_t start_;
  PrincipalPtr caller_;
  TraceContext trace_;
  bool closed_ = false;
};

// The right and the duty to answer one unary call. Shared by whoever works on
// it; request and response live until Finish.
class UnaryCall {
 public:
  explicit UnaryCall(grpc::CallbackServerContext* context,
                     std::function<void(const absl::Status&)> finish)
      : context_(context), finish_(std::move(finish)) {}
  // A call that everybody forgot is answered INTERNAL.
  ~UnaryCall();
  UnaryCall(const UnaryCall&) = delete;
  UnaryCall& operator=(const UnaryCall&) = delete;

  // Who calls, and for what; set before the body runs.
  const Principal& caller() const { return *caller_; }
  const TraceContext& trace() const { return trace_; }
  void SetOrigin(PrincipalPtr caller, TraceContext trace) {
    caller_ = std::move(caller);
    trace_ = std::move(trace);
  }
  // The first answer counts.
  void Finish(const absl::Status& status);
  // Nobody waits for the answer any more.
  bool cancelled() const;

 private:
  grpc::CallbackServerContext* context_;
  std::function<void(const absl::Status&)> finish_;
  PrincipalPtr caller_;
  TraceContext trace_;
  std::atomic<bool> finished_ = false;
};

using UnaryCallPtr = std::shared_ptr<UnaryCall>;

// Runs `body` in the method's lane; it answers through the call, now or later.
grpc::ServerUnaryReactor* Handle(const ApiEnv& env, const CallInfo& method,
                                 grpc::CallbackServerContext* context,
                                 std::function<void(UnaryCallPtr)> body);

// As Handle, for bodies that know the answer when they return.
grpc::ServerUnaryReactor* HandleNow(const ApiEnv& env, const CallInfo& method,
                                    grpc::CallbackServerContext* context,
                                    std::function<absl::Status(Caller)> body);

}  // namespace quant

#endif  // QUANT_SERVER_API_CALL_H_

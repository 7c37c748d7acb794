#include "server/api/queue_service.h"

#include "server/api/job_proto.h"
#include "server/telemetry/log.h"

namespace quant {
namespace {

constexpr CallInfo kGetQueue = {"quant.v1.QueueService/GetQueue"};
constexpr CallInfo kPauseQueue = {"quant.v1.QueueService/PauseQueue"};
constexpr CallInfo kDrainQueue = {"quant.v1.QueueService/DrainQueue"};
constexpr CallInfo kResumeQueue = {"quant.v1.QueueService/ResumeQueue"};

v1::Queue Describe(JobStore& jobs, const QueueControl& control) {
  v1::Queue out;
  out.set_mode(static_cast<v1::Queue::Mode>(control.mode));
  if (control.time != 0) *out.mutable_mode_time() = ToTimestamp(control.time);
  out.set_mode_by(control.principal);
  QueueStats stats = jobs.Stats();
  out.set_queued(stats.jobs[JobState::kQueued]);
  out.set_running(stats.jobs[JobState::kRunning]);
  out.set_cancelling(stats.jobs[JobState::kCancelling]);
  if (const int64_t oldest = stats.OldestCreateTime(); oldest != 0) {
    *out.mutable_oldest_create_time() = ToTimestamp(oldest);
  }
  if (const int64_t micros = stats.mean_attempt_micros; micros != 0) {
    out.mutable_mean_attempt()->set_seconds(micros / 1'000'000);
    out.mutable_mean_attempt()->set_nanos(
        static_cast<int32_t>(micros % 1'000'000) * 1000);
  }
  return out;
}

}  // namespace

grpc::ServerUnaryReactor* QueueService::GetQueue(
    grpc::CallbackServerContext* context, const v1::GetQueueRequest* request,
    v1::Queue* response) {
  return HandleNow(env_, kGetQueue, context, [=, this](Caller caller) {
    *response = Describe(env_.jobs, env_.jobs.Control());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* QueueService::SetMode(
    const CallInfo& method, grpc::CallbackServerContext* context,
    QueueMode mode, v1::Queue* response) {
  return Handle(env_, method, context, [=, this](UnaryCallPtr call) {
    const std::string& name = call->caller().name;
    env_.jobs.SetMode(mode, name,
                      [=, this](absl::StatusOr<QueueControl> control) {
                        if (!control.ok())
                          return call->Finish(control.status());
                        *response = Describe(env_.jobs, *control);
                        Log(LogLevel::kInfo, "queue_mode",
                            {{"mode", v1::Queue::Mode_Name(response->mode())},
                             {"principal", response->mode_by()}});
                        call->Finish(absl::OkStatus());
                      });
  });
}

grpc::ServerUnaryReactor* QueueService::PauseQueue(
    grpc::CallbackServerContext* context, const v1::PauseQueueRequest* request,
    v1::Queue* response) {
  return SetMode(kPauseQueue, context, QueueMode::kPaused, response);
}

grpc::ServerUnaryReactor* QueueService::DrainQueue(
    grpc::CallbackServerContext* context, const v1::DrainQueueRequest* request,
    v1::Queue* response) {
  return SetMode(kDrainQueue, context, QueueMode::kDraining, response);
}

grpc::ServerUnaryReactor* QueueService::ResumeQueue(
    grpc::CallbackServerContext* context, const v1::ResumeQueueRequest* request,
    v1::Queue* response) {
  return SetMode(kResumeQueue, context, QueueMode::kOpen, response);
}

}  // namespace quant

#include "server/api/job_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/bytes.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/recipe/schedule.h"
#include "server/api/job_log.h"
#include "server/api/job_proto.h"
#include "server/api/job_request.h"
#include "server/api/names.h"
#include "server/api/ownership.h"
#include "server/api/page_token.h"
#include "server/api/watch_reactor.h"

namespace quant {
namespace {

constexpr CallInfo kCreateJob = {"quant.v1.JobService/CreateJob", Lane::kIo,
                                 WhileDraining::kRefused};
constexpr CallInfo kGetJob = {"quant.v1.JobService/GetJob"};
constexpr CallInfo kListJobs = {"quant.v1.JobService/ListJobs"};
constexpr CallInfo kCancelJob = {"quant.v1.JobService/CancelJob"};
constexpr CallInfo kRetryJob = {"quant.v1.JobService/RetryJob", Lane::kIo,
                                WhileDraining::kRefused};
constexpr CallInfo kDeleteJob = {"quant.v1.JobService/DeleteJob"};
constexpr CallInfo kPlanJob = {"quant.v1.JobService/PlanJob", Lane::kCompute,
                               WhileDraining::kRefused};

// An error of the planner, with fields as CreateJob and PlanJob spell them.
absl::Status OfSpec(const absl::Status& status) {
  if (absl::IsInvalidArgument(status) && GetField(status).empty()) {
    return MakeError(status.code(), GetReason(status), status.message(),
                     "spec");
  }
  return Annotate(status, "", "spec.");
}

// Work that can't fit would only fail later.
absl::Status CheckDisk(const ApiEnv& env, const v1::JobPlan& plan) {
  absl::StatusOr<int64_t> free = env.artifacts.FreeBytes();
  if (!free.ok() || plan.disk_bound_bytes() <= *free) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kResourceExhausted, Reason::kStorageFull,
      absl::StrCat("the job needs up to ", FormatBytes(plan.disk_bound_bytes()),
                   " of disk; ", FormatBytes(*free), " are free"));
}

absl::Status CheckMemory(const ApiEnv& env, const v1::JobPlan& plan) {
  const int64_t limit = env.options.memory_limit_bytes;
  if (limit == 0 || plan.memory_bound_bytes() <= limit) {
    return absl::OkStatus();
  }
  return MakeError(absl::StatusCode::kFailedPrecondition, Reason::kPlanRefused,
                   absl::StrCat("the job needs up to ",
                                FormatBytes(plan.memory_bound_bytes()),
                                " of memory; --memory-limit of this server is ",
                                FormatBytes(limit)));
}

absl::Status CheckCreate(const v1::CreateJobRequest& request) {
  QUANT_RETURN_IF_ERROR(CheckRequestId(request.request_id()));
  QUANT_RETURN_IF_ERROR(CheckLabels(request.labels()));
  if (!request.has_spec()) return InvalidSpec("spec is missing", "spec");
  return absl::OkStatus();
}

int64_t OutputBytes(const v1::JobPlan& plan) {
  int64_t total = 0;
  for (const v1::OutputPlan& output : plan.outputs()) {
    total = CheckedAdd(total, output.total_bytes()).value_or(INT64_MAX);
  }
  return total;
}

// What may speak against a new job; nothing does against a repeat.
absl::Status CheckRoom(const ApiEnv& env, Caller caller,
                       const v1::JobPlan& plan) {
  QUANT_RETURN_IF_ERROR(CheckMemory(env, plan));
  QUANT_RETURN_IF_ERROR(CheckQuota(env, caller, OutputBytes(plan)));
  return CheckDisk(env, plan);
}

// Whether a retry of the job could store bytes that somebody counts: what it
// has published is not published twice.
bool MayStoreMore(const ApiEnv& env, const JobRecord& job) {
  return env.limiter != nullptr && env.limiter->limits().stored_bytes != 0 &&
         IsTerminal(job.state) && job.artifacts.empty();
}

// As CheckRoom, of a job that exists: the quota is its maker's, whoever asks.
// A source that can't be planned any more is for the attempt to tell.
absl::Status CheckRetryRoom(const ApiEnv& env, const JobRecord& job) {
  if (!MayStoreMore(env, job)) return absl::OkStatus();
  v1::JobSpec spec;
  spec.ParseFromString(job.spec);
  const auto planned = env.planner.Plan(spec);
  if (!planned.ok()) return absl::OkStatus();
  const Principal maker = {.name = job.owner.principal,
                           .tenant = job.owner.tenant};
  return CheckQuota(env, maker, OutputBytes((*planned)->plan));
}

int64_t MaxOpenJobs(const ApiEnv& env) {
  return env.limiter == nullptr ? 0 : env.limiter->limits().open_jobs;
}

// The id of a job that exists for the caller. Jobs never change their owner, so
// the answer stays true.
absl::StatusOr<std::string> OwnJob(const ApiEnv& env, const UnaryCall& call,
                                   const std::string& name) {
  QUANT_ASSIGN_OR_RETURN(std::string id, ParseJobName(name));
  if (!call.caller().sees_all()) {
    QUANT_RETURN_IF_ERROR(FindJob(env, call.caller(), id).status());
  }
  return id;
}

}  // namespace

JobCallback JobService::Answer(UnaryCallPtr call, v1::Job* response) {
  return [this, call, response](absl::StatusOr<JobRecord> record) {
    if (!record.ok()) return call->Finish(record.status());
    // The position may be read from the disk: not on the store's thread.
    env_.io.Continue([this, call, response, record = *std::move(record)] {
      *response = DescribeJob(env_, record);
      call->Finish(absl::OkStatus());
    });
  };
}

JobCallback JobService::Told(const char* event, const JobRecord& job,
                             const UnaryCallPtr& call, JobCallback then) {
  // Shared, because callbacks are copied. It is there from before the change,
  // so that a reader of the log waits for what it says.
  auto log = std::make_shared<JobLogs::Writer>(env_.logs, LogSubjectOf(job));
  return [=, this, was = job.event_sequence,
          then = std::move(then)](absl::StatusOr<JobRecord> after) {
    const bool changed = after.ok() && after->event_sequence != was;
    then(std::move(after));
    // The disk is not for the store's thread.
    env_.io.Continue([=] {
      if (!changed) return;
      log->Write(LogLevel::kInfo, event,
                 {{"principal", call->caller().name},
                  {"call_trace_id", call->trace().trace_id}});
    });
  };
}

grpc::ServerUnaryReactor* JobService::CreateJob(
    grpc::CallbackServerContext* context, const v1::CreateJobRequest* request,
    v1::Job* response) {
  return Handle(env_, kCreateJob, context, [=, this](UnaryCallPtr call) {
    if (absl::Status status = CheckCreate(*request); !status.ok()) {
      return call->Finish(status);
    }
    absl::Status uploads = CheckUploads(env_, call->caller(), request->spec());
    if (!uploads.ok()) return call->Finish(uploads);
    if (Planned planned = env_.planner.Cached(request->spec())) {
      return Insert(call, *request, planned, response);
    }
    absl::Status queued = env_.compute.Submit([=, this] {
      if (call->cancelled()) return call->Finish(absl::CancelledError());
      absl::StatusOr<Planned> planned = env_.planner.Plan(request->spec());
      if (!planned.ok()) return call->Finish(OfSpec(planned.status()));
      Insert(call, *request, *planned, response);
    });
    if (!queued.ok()) call->Finish(queued);
  });
}

void JobService::Insert(UnaryCallPtr call, const v1::CreateJobRequest& request,
                        const Planned& planned, v1::Job* response) {
  EnqueueRequest enqueue;
  enqueue.spec = planned->canonical_bytes;
  enqueue.labels.insert(request.labels().begin(), request.labels().end());
  enqueue.request_id = request.request_id();
  enqueue.request_digest =
      RequestDigest(planned->canonical_bytes, enqueue.labels);
  enqueue.max_attempts = env_.options.max_attempts;
  enqueue.priority = PriorityOf(planned->canonical);
  enqueue.retention = ToMicros(planned->canonical.retention());
  enqueue.owner = OwnerOf(call->caller());
  enqueue.traceparent = ToTraceparent(call->trace());
  enqueue.max_open_jobs = MaxOpenJobs(env_);
  enqueue.refusal = CheckRoom(env_, call->caller(), planned->plan);
  enqueue.validate_only = request.validate_only();
  env_.jobs.Enqueue(std::move(enqueue), Answer(call, response));
}

grpc::ServerUnaryReactor* JobService::GetJob(
    grpc::CallbackServerContext* context, const v1::GetJobRequest* request,
    v1::Job* response) {
  return HandleNow(env_, kGetJob, context, [=, this](Caller caller) {
    QUANT_ASSIGN_OR_RETURN(std::string id, ParseJobName(request->name()));
    QUANT_ASSIGN_OR_RETURN(JobRecord record, FindJob(env_, caller, id));
    *response = DescribeJob(env_, record);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* JobService::ListJobs(
    grpc::CallbackServerContext* context, const v1::ListJobsRequest* request,
    v1::ListJobsResponse* response) {
  return HandleNow(env_, kListJobs, context, [=, this](Caller caller) {
    const std::string& key = env_.options.page_token_key;
    QUANT_ASSIGN_OR_RETURN(ListJobsQuery list,
                           ParseListJobs(*request, VisibleTenant(caller), key));
    QUANT_ASSIGN_OR_RETURN(std::vector<JobRecord> records,
                           env_.jobs.List(list.query));
    const size_t page = static_cast<size_t>(list.page_size);
    if (records.size() > page) {
      records.resize(page);
      response->set_next_page_token(
          MakePageToken(key, list.filter, records.back().id));
    }
    for (const JobRecord& record : records) {
      v1::Job& job = *response->add_jobs() = DescribeJob(env_, record);
      job.clear_escalation();
    }
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::WatchJobResponse>* JobService::WatchJob(
    grpc::CallbackServerContext* context, const v1::WatchJobRequest* request) {
  return StartWatch(env_, context, *request);
}

grpc::ServerUnaryReactor* JobService::CancelJob(
    grpc::CallbackServerContext* context, const v1::CancelJobRequest* request,
    v1::Job* response) {
  return Handle(env_, kCancelJob, context, [=, this](UnaryCallPtr call) {
    absl::StatusOr<std::string> id = ParseJobName(request->name());
    if (!id.ok()) return call->Finish(id.status());
    const absl::StatusOr<JobRecord> job = FindJob(env_, call->caller(), *id);
    if (!job.ok()) return call->Finish(job.status());
    env_.jobs.RequestCancel(
        *id, request->etag(),
        Told("cancel_requested", *job, call, Answer(call, response)));
  });
}

grpc::ServerUnaryReactor* JobService::RetryJob(
    grpc::CallbackServerContext* context, const v1::RetryJobRequest* request,
    v1::Job* response) {
  return Handle(env_, kRetryJob, context, [=, this](UnaryCallPtr call) {
    absl::StatusOr<std::string> id = ParseJobName(request->name());
    if (!id.ok()) return call->Finish(id.status());
    const absl::StatusOr<JobRecord> job = FindJob(env_, call->caller(), *id);
    if (!job.ok()) return call->Finish(job.status());
    auto retry = [=, this, job = *job] {
      absl::Status room = CheckRetryRoom(env_, job);
      if (!room.ok()) return call->Finish(room);
      env_.jobs.Retry(
          job.id, request->etag(), MaxOpenJobs(env_),
          Told("retry_requested", job, call, Answer(call, response)));
    };
    if (!MayStoreMore(env_, *job)) return retry();
    absl::Status queued = env_.compute.Submit(std::move(retry));
    if (!queued.ok()) call->Finish(queued);
  });
}

grpc::ServerUnaryReactor* JobService::DeleteJob(
    grpc::CallbackServerContext* context, const v1::DeleteJobRequest* request,
    google::protobuf::Empty* response) {
  return Handle(env_, kDeleteJob, context, [=, this](UnaryCallPtr call) {
    absl::StatusOr<std::string> id = OwnJob(env_, *call, request->name());
    if (!id.ok()) return call->Finish(id.status());
    auto done = [this, call, id = *id](absl::StatusOr<JobRecord> record) {
      call->Finish(record.status());
      if (!record.ok()) return;
      env_.io.Continue([this, id] {
        // What is left behind here goes with the next sweep.
        env_.artifacts.RemoveWorkDirectory(id).IgnoreError();
        env_.logs.Remove(id).IgnoreError();
      });
    };
    env_.jobs.Delete(*id, request->etag(), std::move(done));
  });
}

grpc::ServerUnaryReactor* JobService::PlanJob(
    grpc::CallbackServerContext* context, const v1::PlanJobRequest* request,
    v1::JobPlan* response) {
  return HandleNow(env_, kPlanJob, context, [=, this](Caller caller) {
    if (!request->has_spec()) return InvalidSpec("spec is missing", "spec");
    QUANT_RETURN_IF_ERROR(CheckUploads(env_, caller, request->spec()));
    absl::StatusOr<Planned> planned = env_.planner.Plan(request->spec());
    if (!planned.ok()) return OfSpec(planned.status());
    *response = (*planned)->plan;
    return absl::OkStatus();
  });
}

}  // namespace quant

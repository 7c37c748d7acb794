// quant.v1.JobService over the queue and the planner.
#ifndef QUANT_SERVER_API_JOB_SERVICE_H_
#define QUANT_SERVER_API_JOB_SERVICE_H_

#include <memory>

#include "quant/v1/job_service.grpc.pb.h"
#include "server/api/call.h"
#include "server/api/env.h"

namespace quant {

class JobService final : public v1::JobService::CallbackService {
 public:
  explicit JobService(const ApiEnv& env) : env_(env) {}

  grpc::ServerUnaryReactor* CreateJob(grpc::CallbackServerContext* context,
                                      const v1::CreateJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context,
                                   const v1::GetJobRequest* request,
                                   v1::Job* response) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context,
                                     const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchJobResponse>* WatchJob(
      grpc::CallbackServerContext* context,
      const v1::WatchJobRequest* request) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context,
                                      const v1::CancelJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* RetryJob(grpc::CallbackServerContext* context,
                                     const v1::RetryJobRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* DeleteJob(
      grpc::CallbackServerContext* context, const v1::DeleteJobRequest* request,
      google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* PlanJob(grpc::CallbackServerContext* context,
                                    const v1::PlanJobRequest* request,
                                    v1::JobPlan* response) override;

 private:
  using Planned = std::shared_ptr<const PlannedSpec>;

  // The insert, once the request is known to be good.
  void Insert(UnaryCallPtr call, const v1::CreateJobRequest& request,
              const Planned& planned, v1::Job* response);
  // A store's answer that becomes the response.
  JobCallback Answer(UnaryCallPtr call, v1::Job* response);
  // `then`, and a line in the job's log about what the call has changed.
  JobCallback Told(const char* event, const JobRecord& job,
                   const UnaryCallPtr& call, JobCallback then);

  const ApiEnv& env_;
};

}  // namespace quant

#endif  // QUANT_SERVER_API_JOB_SERVICE_H_

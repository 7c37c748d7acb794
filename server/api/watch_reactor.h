// JobService.WatchJob: one stream per watcher. See the proto for the contract.
#ifndef QUANT_SERVER_API_WATCH_REACTOR_H_
#define QUANT_SERVER_API_WATCH_REACTOR_H_

#include <grpcpp/grpcpp.h>

#include "quant/v1/job_service.pb.h"
#include "server/api/env.h"
#include "server/queue/job.h"

namespace quant {

// Never null; owns itself until the stream is done.
grpc::ServerWriteReactor<v1::WatchJobResponse>* StartWatch(
    const ApiEnv& env, grpc::CallbackServerContext* context,
    const v1::WatchJobRequest& request);

// The whole job, with its place in the queue. Reads the store.
v1::Job DescribeJob(const ApiEnv& env, const JobRecord& record);

}  // namespace quant

#endif  // QUANT_SERVER_API_WATCH_REACTOR_H_

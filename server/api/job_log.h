// Logs of jobs, as callers see them.
#ifndef QUANT_SERVER_API_JOB_LOG_H_
#define QUANT_SERVER_API_JOB_LOG_H_

#include <grpcpp/grpcpp.h>

#include <string>

#include "absl/status/statusor.h"
#include "google/bytestream/bytestream.pb.h"
#include "server/api/env.h"

namespace quant {

// Whether nothing more is said of the job, as long as nobody retries it.
absl::StatusOr<bool> IsLogComplete(const ApiEnv& env, const std::string& id);

// For lines outside of attempts.
JobLogSubject LogSubjectOf(const JobRecord& job);

// `request` names "jobs/{id}/log"; writes serialized ReadResponses.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartJobLogRead(
    const ApiEnv& env, grpc::CallbackServerContext* context,
    const google::bytestream::ReadRequest& request);

}  // namespace quant

#endif  // QUANT_SERVER_API_JOB_LOG_H_

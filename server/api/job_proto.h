// Records of the stores as messages of the API.
#ifndef QUANT_SERVER_API_JOB_PROTO_H_
#define QUANT_SERVER_API_JOB_PROTO_H_

#include <cstdint>
#include <optional>
#include <string>

#include "google/protobuf/timestamp.pb.h"
#include "quant/v1/artifact.pb.h"
#include "quant/v1/job.pb.h"
#include "quant/v1/job_service.pb.h"
#include "quant/v1/model.pb.h"
#include "server/queue/job.h"
#include "server/queue/job_store.h"
#include "server/store/artifact_store.h"
#include "server/store/upload_store.h"

namespace quant {

// Microseconds since the Unix epoch.
google::protobuf::Timestamp ToTimestamp(int64_t micros);

v1::Job JobToProto(const JobRecord& record);

// Where a job waits; nothing when it does not. In memory.
std::optional<v1::QueueInfo> QueueInfoOf(JobStore& jobs, const std::string& id);

// A durable event as a watcher sees it.
v1::WatchJobResponse EventToProto(const JobEvent& event);

v1::Artifact ArtifactToProto(const ArtifactRecord& record);
v1::Upload UploadToProto(const UploadRecord& record);

}  // namespace quant

#endif  // QUANT_SERVER_API_JOB_PROTO_H_

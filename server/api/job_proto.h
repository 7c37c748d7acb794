// Records of the stores as messages of the API.
#ifndef QUANT_SERVER_API_JOB_PROTO_H_
#define QUANT_SERVER_API_JOB_PROTO_H_

#include <cstdint>
#include <optional>

#include "google/protobuf/timestamp.pb.h"
#include "quant/v1/artifact.pb.h"
#include "quant/v1/job.pb.h"
#include "quant/v1/job_service.pb.h"
#include "quant/v1/model.pb.h"
#include "server/queue/job.h"
#include "server/store/artifact_store.h"
#include "server/store/upload_store.h"

namespace quant {

// Microseconds since the Unix epoch.
google::protobuf::Timestamp ToTimestamp(int64_t micros);

// `queue_position`: jobs that will be claimed before it; nothing when the job
// is not queued.
v1::Job JobToProto(const JobRecord& record,
                   std::optional<int64_t> queue_position);

// A durable event as a watcher sees it.
v1::WatchJobResponse EventToProto(const JobEvent& event);

v1::Artifact ArtifactToProto(const ArtifactRecord& record);
v1::Upload UploadToProto(const UploadRecord& record);

}  // namespace quant

#endif  // QUANT_SERVER_API_JOB_PROTO_H_

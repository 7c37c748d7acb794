#include "server/api/byte_stream_service.h"

#include "core/base/status_macros.h"
#include "server/api/byte_stream_reactors.h"
#include "server/api/job_log.h"
#include "server/api/names.h"
#include "server/api/ownership.h"

namespace quant {
namespace {

constexpr CallInfo kQueryWriteStatus = {
    "google.bytestream.ByteStream/QueryWriteStatus"};

absl::Status QueryJobLog(
    const ApiEnv& env, Caller caller,
    const google::bytestream::QueryWriteStatusRequest& request,
    google::bytestream::QueryWriteStatusResponse* response) {
  QUANT_ASSIGN_OR_RETURN(const std::string id,
                         ParseJobLogName(request.resource_name()));
  QUANT_RETURN_IF_ERROR(FindJob(env, caller, id).status());
  // In this order: a complete log grows no more.
  QUANT_ASSIGN_OR_RETURN(const bool complete, IsLogComplete(env, id));
  QUANT_ASSIGN_OR_RETURN(const int64_t size, env.logs.Size(id));
  response->set_committed_size(size);
  response->set_complete(complete);
  return absl::OkStatus();
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* ByteStreamService::Read(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return StartByteStreamRead(env_, context, *request);
}

grpc::ServerReadReactor<google::bytestream::WriteRequest>*
ByteStreamService::Write(grpc::CallbackServerContext* context,
                         google::bytestream::WriteResponse* response) {
  return StartByteStreamWrite(env_, context, response);
}

grpc::ServerUnaryReactor* ByteStreamService::QueryWriteStatus(
    grpc::CallbackServerContext* context,
    const google::bytestream::QueryWriteStatusRequest* request,
    google::bytestream::QueryWriteStatusResponse* response) {
  return HandleNow(env_, kQueryWriteStatus, context, [=, this](Caller caller) {
    if (IsJobLogName(request->resource_name())) {
      return QueryJobLog(env_, caller, *request, response);
    }
    QUANT_ASSIGN_OR_RETURN(BlobResource blob,
                           ParseBlobResource(request->resource_name()));
    QUANT_RETURN_IF_ERROR(FindUpload(env_, caller, blob.upload_id).status());
    QUANT_ASSIGN_OR_RETURN(UploadStore::WriteStatus status,
                           env_.uploads.QueryBlob(blob.upload_id, blob.sha256));
    response->set_committed_size(status.committed_size);
    response->set_complete(status.complete);
    return absl::OkStatus();
  });
}

}  // namespace quant

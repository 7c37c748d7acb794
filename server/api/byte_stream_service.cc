#include "server/api/byte_stream_service.h"

#include "core/base/status_macros.h"
#include "server/api/byte_stream_reactors.h"
#include "server/api/names.h"
#include "server/api/ownership.h"

namespace quant {
namespace {

constexpr CallInfo kQueryWriteStatus = {
    "google.bytestream.ByteStream/QueryWriteStatus"};

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

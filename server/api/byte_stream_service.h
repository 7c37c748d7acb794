// google.bytestream.ByteStream: artifacts and logs out, uploads in.
#ifndef QUANT_SERVER_API_BYTE_STREAM_SERVICE_H_
#define QUANT_SERVER_API_BYTE_STREAM_SERVICE_H_

#include "google/bytestream/bytestream.grpc.pb.h"
#include "server/api/call.h"
#include "server/api/env.h"

namespace quant {

// Read is raw: its messages are laid out here around the bytes as they came
// from the disk, which saves a copy of all that is sent.
class ByteStreamService final
    : public google::bytestream::ByteStream::WithRawCallbackMethod_Read<
          google::bytestream::ByteStream::WithCallbackMethod_Write<
              google::bytestream::ByteStream::
                  WithCallbackMethod_QueryWriteStatus<
                      google::bytestream::ByteStream::Service>>> {
 public:
  explicit ByteStreamService(const ApiEnv& env) : env_(env) {}

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Read(
      grpc::CallbackServerContext* context,
      const grpc::ByteBuffer* request) override;
  grpc::ServerReadReactor<google::bytestream::WriteRequest>* Write(
      grpc::CallbackServerContext* context,
      google::bytestream::WriteResponse* response) override;
  grpc::ServerUnaryReactor* QueryWriteStatus(
      grpc::CallbackServerContext* context,
      const google::bytestream::QueryWriteStatusRequest* request,
      google::bytestream::QueryWriteStatusResponse* response) override;

 private:
  const ApiEnv& env_;
};

}  // namespace quant

#endif  // QUANT_SERVER_API_BYTE_STREAM_SERVICE_H_

// The two streams of ByteStream. Each owns itself until it is done.
#ifndef QUANT_SERVER_API_BYTE_STREAM_REACTORS_H_
#define QUANT_SERVER_API_BYTE_STREAM_REACTORS_H_

#include <grpcpp/grpcpp.h>

#include "google/bytestream/bytestream.pb.h"
#include "server/api/env.h"

namespace quant {

// `message`: a serialized ReadRequest; writes serialized ReadResponses.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartByteStreamRead(
    const ApiEnv& env, grpc::CallbackServerContext* context,
    const grpc::ByteBuffer& message);

grpc::ServerReadReactor<google::bytestream::WriteRequest>* StartByteStreamWrite(
    const ApiEnv& env, grpc::CallbackServerContext* context,
    google::bytestream::WriteResponse* response);

}  // namespace quant

#endif  // QUANT_SERVER_API_BYTE_STREAM_REACTORS_H_

// Messages between the server and the child process of an attempt: a 4-byte
// little-endian length, then the bytes of the message (see
// proto/quant/worker/v1/attempt.proto), over a socket pair.
#ifndef QUANT_SERVER_WORKER_ATTEMPT_PROTOCOL_H_
#define QUANT_SERVER_WORKER_ATTEMPT_PROTOCOL_H_

#include <google/protobuf/message_lite.h>

#include "absl/status/statusor.h"

namespace quant {

// Blocks until everything is sent. UNAVAILABLE when the other side is gone.
absl::Status SendMessage(int fd, const google::protobuf::MessageLite& message);

// Blocks for one message. False at the end of the stream; DATA_LOSS when it
// ends inside a message or holds no message.
absl::StatusOr<bool> ReceiveMessage(int fd,
                                    google::protobuf::MessageLite& message);

}  // namespace quant

#endif  // QUANT_SERVER_WORKER_ATTEMPT_PROTOCOL_H_

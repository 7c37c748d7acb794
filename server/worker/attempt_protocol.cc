#include "server/worker/attempt_protocol.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// A result lists every file of up to 16 artifacts.
constexpr uint32_t kMaxMessageBytes = 64 << 20;

absl::Status Broken(absl::string_view what) {
  return MakeError(absl::StatusCode::kUnavailable, Reason::kWorkerCrashed,
                   absl::StrCat("worker socket: ", what));
}

// Reads exactly `size` bytes; less only at the end of the stream.
absl::StatusOr<size_t> ReadUpTo(int fd, char* out, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t n = ::recv(fd, out + done, size - done, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Broken(std::strerror(errno));
    if (n == 0) break;
    done += n;
  }
  return done;
}

}  // namespace

absl::Status SendMessage(int fd, const google::protobuf::MessageLite& message) {
  std::string bytes = message.SerializeAsString();
  const uint32_t size = static_cast<uint32_t>(bytes.size());
  char prefix[4];
  for (int i = 0; i < 4; ++i) prefix[i] = static_cast<char>(size >> (8 * i));
  bytes.insert(0, prefix, sizeof(prefix));
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n =
        ::send(fd, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Broken(std::strerror(errno));
    done += n;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> ReceiveMessage(int fd,
                                    google::protobuf::MessageLite& message) {
  unsigned char prefix[4];
  QUANT_ASSIGN_OR_RETURN(
      const size_t got,
      ReadUpTo(fd, reinterpret_cast<char*>(prefix), sizeof(prefix)));
  if (got == 0) return false;
  uint32_t size = 0;
  for (int i = 0; i < 4; ++i) size |= uint32_t{prefix[i]} << (8 * i);
  if (got < sizeof(prefix) || size > kMaxMessageBytes) {
    return absl::DataLossError("worker socket: not a message");
  }
  std::string bytes(size, '\0');
  QUANT_ASSIGN_OR_RETURN(const size_t body, ReadUpTo(fd, bytes.data(), size));
  if (body < size || !message.ParseFromString(bytes)) {
    return absl::DataLossError("worker socket: ends inside a message");
  }
  return true;
}

}  // namespace quant

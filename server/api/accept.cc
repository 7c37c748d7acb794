#include "server/api/accept.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace quant {
namespace {

// The first descriptor that no connection may have. At least half of them are
// for connections, however few there are.
int64_t FirstReserved() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return INT64_MAX;
  const int64_t all = static_cast<int64_t>(
      std::min<rlim_t>(limit.rlim_cur, rlim_t{INT64_MAX}));
  return std::max(all - kReservedDescriptors, all / 2);
}

}  // namespace

void ReserveDescriptors() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace quant

// The kernel gives the lowest descriptor that is free, so its number tells how
// many are taken. All that wait are asked for: gRPC comes again only when
// another one arrives.
extern "C" int accept4(int fd, sockaddr* address, socklen_t* length,
                       int flags) {
  while (true) {
    const auto taken =
        static_cast<int>(syscall(SYS_accept4, fd, address, length, flags));
    if (taken < 0 && (errno == EMFILE || errno == ENFILE)) errno = EAGAIN;
    if (taken < quant::FirstReserved()) return taken;
    close(taken);
  }
}

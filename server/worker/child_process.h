// A child process of the same binary with one socket to it.
#ifndef QUANT_SERVER_WORKER_CHILD_PROCESS_H_
#define QUANT_SERVER_WORKER_CHILD_PROCESS_H_

#include <sys/types.h>

#include <string>

#include "absl/status/statusor.h"

namespace quant {

// Move-only. Destruction kills and reaps a child that is still there.
class ChildProcess {
 public:
  // Starts `executable` "attempt" "--fd" N in a process group of its own, with
  // nothing inherited but standard streams and the socket N.
  static absl::StatusOr<ChildProcess> Start(const std::string& executable);

  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();

  int fd() const { return fd_; }
  pid_t pid() const { return pid_; }

  // Closes the sending half of the socket: asks the child to stop.
  void AskToStop();
  // SIGKILL to its process group.
  void Kill();
  // Waits for its end; "exited with 1", "killed by signal 9 (Killed)".
  std::string Reap();

 private:
  ChildProcess(pid_t pid, int fd) : pid_(pid), fd_(fd) {}
  pid_t pid_ = -1;
  int fd_ = -1;
};

}  // namespace quant

#endif  // QUANT_SERVER_WORKER_CHILD_PROCESS_H_

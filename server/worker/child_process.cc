#include "server/worker/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"

extern char** environ;

namespace quant {
namespace {

constexpr int kChildFd = 3;

// posix_spawn's two objects, freed together.
struct SpawnOptions {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;

  explicit SpawnOptions(int child_end) {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, child_end, kChildFd);
    posix_spawn_file_actions_addclosefrom_np(&actions, kChildFd + 1);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnOptions() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
};

}  // namespace

absl::StatusOr<ChildProcess> ChildProcess::Start(
    const std::string& executable) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoError(errno, "socketpair");
  }
  const SpawnOptions options(ends[1]);
  std::string program = executable, verb = "attempt", flag = "--fd",
              number = absl::StrCat(kChildFd);
  char* argv[] = {program.data(), verb.data(), flag.data(), number.data(),
                  nullptr};
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, executable.c_str(), &options.actions,
                                  &options.attributes, argv, environ);
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    return MakeError(absl::StatusCode::kUnavailable, Reason::kWorkerCrashed,
                     absl::StrCat(executable, ": ", ::strerror(error)));
  }
  return ChildProcess(pid, ends[0]);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), fd_(std::exchange(other.fd_, -1)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(fd_, other.fd_);
  return *this;
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0) {
    Kill();
    Reap();
  }
  if (fd_ >= 0) ::close(fd_);
}

void ChildProcess::AskToStop() { ::shutdown(fd_, SHUT_WR); }

void ChildProcess::Kill() {
  if (pid_ <= 0) return;
  ::kill(-pid_, SIGKILL);
  ::kill(pid_, SIGKILL);
}

std::string ChildProcess::Reap() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  if (WIFSIGNALED(status)) {
    return absl::StrCat("killed by signal ", WTERMSIG(status), " (",
                        ::strsignal(WTERMSIG(status)), ")");
  }
  return absl::StrCat("exited with ", WEXITSTATUS(status));
}

}  // namespace quant

#include "server/worker/sandbox.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "core/base/error.h"

namespace quant {
namespace {

// A model of many shards is read with all of them open.
constexpr rlim_t kMaxOpenFiles = 4096;

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
constexpr uint32_t kArchitecture = 0;  // no filter
#endif

// System calls of the x32 ABI, which share the architecture of x86-64, have
// this bit; no filter by number may forget them.
constexpr uint32_t kX32Bit = 0x40000000;

constexpr int kRefused[] = {
    // The network, and the local sockets of other services.
    __NR_socket, __NR_socketpair, __NR_connect, __NR_bind, __NR_listen,
    __NR_accept, __NR_accept4, __NR_io_uring_setup, __NR_io_uring_enter,
    __NR_io_uring_register,
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    // Programs, and other processes. (Sanitizers look at their own process by
    // these, and show stacks by a program.)
    __NR_execve, __NR_execveat, __NR_ptrace, __NR_kill,
#endif
    __NR_process_vm_readv, __NR_process_vm_writev, __NR_pidfd_open,
    __NR_pidfd_getfd, __NR_pidfd_send_signal,
    // The system.
    __NR_mount, __NR_umount2, __NR_pivot_root, __NR_chroot, __NR_unshare,
    __NR_setns, __NR_bpf, __NR_perf_event_open, __NR_userfaultfd, __NR_keyctl,
    __NR_add_key, __NR_request_key, __NR_init_module, __NR_finit_module,
    __NR_delete_module, __NR_kexec_load, __NR_reboot, __NR_swapon, __NR_swapoff,
    __NR_open_by_handle_at, __NR_name_to_handle_at, __NR_setuid, __NR_setgid,
    __NR_setresuid, __NR_setresgid, __NR_quotactl, __NR_acct, __NR_settimeofday,
    __NR_sethostname, __NR_syslog};

sock_filter Load(size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset));
}

// Refuses when `code` (BPF_JEQ or BPF_JGE) holds against `value`.
void RefuseIf(uint16_t code, uint32_t value, std::vector<sock_filter>& out) {
  out.push_back(
      BPF_JUMP(static_cast<uint16_t>(BPF_JMP | code | BPF_K), value, 0, 1));
  out.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
}

std::vector<sock_filter> Filter() {
  std::vector<sock_filter> out;
  out.push_back(Load(offsetof(seccomp_data, arch)));
  out.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0));
  out.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  out.push_back(Load(offsetof(seccomp_data, nr)));
  if (kArchitecture == AUDIT_ARCH_X86_64) RefuseIf(BPF_JGE, kX32Bit, out);
  for (const int number : kRefused) {
    RefuseIf(BPF_JEQ, static_cast<uint32_t>(number), out);
  }
  out.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  return out;
}

bool RefuseSystemCalls() {
  if (kArchitecture == 0) {
    errno = ENOSYS;
    return false;
  }
  std::vector<sock_filter> filter = Filter();
  const sock_fprog program = {.len = static_cast<uint16_t>(filter.size()),
                              .filter = filter.data()};
  return ::syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

// Of kernel 6.2, which headers may not know yet.
constexpr uint64_t kAccessTruncate = 1ULL << 14;

// Everything that changes a file system, as far as the kernel's `abi` knows it.
uint64_t WritingAccess(int64_t abi) {
  uint64_t access =
      LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
      LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
      LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
      LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
      LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;
  if (abi >= 2) access |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= 3) access |= kAccessTruncate;
  return access;
}

bool AllowWritesBelow(int ruleset, uint64_t access, const std::string& path) {
  const int parent = ::open(path.c_str(), O_PATH | O_CLOEXEC | O_DIRECTORY);
  if (parent < 0) return false;
  landlock_path_beneath_attr rule = {.allowed_access = access,
                                     .parent_fd = parent};
  const bool added = ::syscall(__NR_landlock_add_rule, ruleset,
                               LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
  ::close(parent);
  return added;
}

bool KeepWritesBelow(const std::string& work_dir) {
  const int64_t abi = ::syscall(__NR_landlock_create_ruleset, nullptr, 0,
                                LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 1) return false;
  landlock_ruleset_attr attributes = {};
  attributes.handled_access_fs = WritingAccess(abi);
  const int ruleset = static_cast<int>(::syscall(
      __NR_landlock_create_ruleset, &attributes, sizeof attributes, 0));
  if (ruleset < 0) return false;
  const bool done =
      AllowWritesBelow(ruleset, attributes.handled_access_fs, work_dir) &&
      ::syscall(__NR_landlock_restrict_self, ruleset, 0) == 0;
  ::close(ruleset);
  return done;
}

bool LowerLimit(decltype(RLIMIT_CORE) what, rlim_t value) {
  rlimit limit = {};
  if (::getrlimit(what, &limit) != 0) return false;
  limit.rlim_max = std::min(limit.rlim_max, value);
  limit.rlim_cur = std::min(limit.rlim_cur, limit.rlim_max);
  return ::setrlimit(what, &limit) == 0;
}

}  // namespace

std::string EnterSandbox(const std::string& work_dir) {
  std::vector<std::string> missing;
  const auto want = [&](bool had, absl::string_view what) {
    if (!had) missing.emplace_back(ErrnoError(errno, what).message());
  };
  want(LowerLimit(RLIMIT_CORE, 0), "RLIMIT_CORE");
  want(LowerLimit(RLIMIT_NOFILE, kMaxOpenFiles), "RLIMIT_NOFILE");
  want(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
  want(KeepWritesBelow(work_dir), "landlock");
  want(RefuseSystemCalls(), "seccomp");
  return absl::StrJoin(missing, "; ");
}

void LimitFileSize(int64_t bytes) {
  // The signal would end the process without a word.
  ::signal(SIGXFSZ, SIG_IGN);
  LowerLimit(RLIMIT_FSIZE, static_cast<rlim_t>(std::max<int64_t>(bytes, 0)));
}

}  // namespace quant

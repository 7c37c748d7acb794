#include "server/worker/syscall_filter.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "core/base/sanitizer.h"

namespace quant {
namespace {

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

// Sanitizers look at their own process by other processes, and show stacks by a
// program.
constexpr bool kProcesses = QUANT_SANITIZED;

constexpr int kRefused[] = {
    // The network, and the local sockets of other services.
    __NR_socket, __NR_socketpair, __NR_connect, __NR_bind, __NR_listen,
    __NR_accept, __NR_accept4, __NR_io_uring_setup, __NR_io_uring_enter,
    __NR_io_uring_register,
    // Other processes. (Signals to its own, as abort(3) sends: see Filter.)
    __NR_process_vm_readv, __NR_process_vm_writev, __NR_pidfd_open,
    __NR_pidfd_getfd, __NR_pidfd_send_signal, __NR_tkill, __NR_rt_sigqueueinfo,
    __NR_rt_tgsigqueueinfo, __NR_setsid, __NR_setpgid,
    // Rights, owners and times of files, which Landlock leaves alone.
    __NR_fchmod, __NR_fchmodat, __NR_fchown, __NR_fchownat, __NR_utimensat,
    __NR_setxattr, __NR_lsetxattr, __NR_fsetxattr, __NR_removexattr,
    __NR_lremovexattr, __NR_fremovexattr,
#if defined(__x86_64__)  // calls that younger machines never had
    __NR_chmod, __NR_chown, __NR_lchown, __NR_utime, __NR_utimes,
    __NR_futimesat,
#endif
    // File systems and namespaces.
    __NR_mount, __NR_umount2, __NR_fsopen, __NR_fspick, __NR_fsconfig,
    __NR_fsmount, __NR_move_mount, __NR_open_tree, __NR_mount_setattr,
    __NR_pivot_root, __NR_chroot, __NR_unshare, __NR_setns,
    __NR_open_by_handle_at, __NR_name_to_handle_at, __NR_quotactl,
    // The system.
    __NR_bpf, __NR_perf_event_open, __NR_userfaultfd, __NR_keyctl, __NR_add_key,
    __NR_request_key, __NR_init_module, __NR_finit_module, __NR_delete_module,
    __NR_kexec_load, __NR_reboot, __NR_swapon, __NR_swapoff, __NR_setuid,
    __NR_setgid, __NR_setresuid, __NR_setresgid, __NR_acct, __NR_settimeofday,
    __NR_sethostname, __NR_syslog};

constexpr int kRefusedProcesses[] = {
#if defined(__x86_64__)
    __NR_fork,   __NR_vfork,
#endif
    __NR_execve, __NR_execveat, __NR_ptrace, __NR_kill};

using Program = std::vector<sock_filter>;

sock_filter Statement(int code, size_t value) {
  return BPF_STMT(static_cast<uint16_t>(code), static_cast<uint32_t>(value));
}
sock_filter Jump(int condition, uint32_t value, size_t yes, size_t no) {
  return BPF_JUMP(static_cast<uint16_t>(BPF_JMP | condition | BPF_K), value,
                  static_cast<uint8_t>(yes), static_cast<uint8_t>(no));
}
sock_filter Load(size_t offset) {
  return Statement(BPF_LD | BPF_W | BPF_ABS, offset);
}
sock_filter Answer(uint32_t what) { return Statement(BPF_RET | BPF_K, what); }
sock_filter AnswerError(int error) {
  return Answer(SECCOMP_RET_ERRNO | static_cast<uint32_t>(error));
}

// The number of the call is loaded before and after each of these.

void AnswerErrorTo(int number, int error, Program& out) {
  out.push_back(Jump(BPF_JEQ, static_cast<uint32_t>(number), 0, 1));
  out.push_back(AnswerError(error));
}

// Refuses the call unless `condition` (BPF_JEQ or BPF_JSET) holds between its
// first argument, of 32 bits, and one of `values`.
void AllowOnly(int number, int condition,
               std::initializer_list<uint32_t> values, Program& out) {
  const size_t block = values.size() + 3;
  out.push_back(Jump(BPF_JEQ, static_cast<uint32_t>(number), 0, block));
  out.push_back(Load(offsetof(seccomp_data, args)));  // little endian: low half
  size_t to_allow = values.size();
  for (const uint32_t value : values) {
    out.push_back(Jump(condition, value, to_allow--, 0));
  }
  out.push_back(AnswerError(EPERM));
  out.push_back(Answer(SECCOMP_RET_ALLOW));
}

Program Filter() {
  const auto self = static_cast<uint32_t>(::getpid());
  Program out;
  out.push_back(Load(offsetof(seccomp_data, arch)));
  out.push_back(Jump(BPF_JEQ, kArchitecture, 1, 0));
  out.push_back(Answer(SECCOMP_RET_KILL_PROCESS));
  out.push_back(Load(offsetof(seccomp_data, nr)));
  if (kArchitecture == AUDIT_ARCH_X86_64) {
    out.push_back(Jump(BPF_JGE, kX32Bit, 0, 1));
    out.push_back(AnswerError(EPERM));
  }
  for (const int number : kRefused) AnswerErrorTo(number, EPERM, out);
  AllowOnly(__NR_prlimit64, BPF_JEQ, {0, self}, out);
  if (!kProcesses) {
    for (const int number : kRefusedProcesses) {
      AnswerErrorTo(number, EPERM, out);
    }
    AllowOnly(__NR_tgkill, BPF_JEQ, {self}, out);
    AllowOnly(__NR_clone, BPF_JSET, {CLONE_THREAD}, out);
    AnswerErrorTo(__NR_clone3, ENOSYS, out);
  }
  out.push_back(Answer(SECCOMP_RET_ALLOW));
  return out;
}

}  // namespace

bool RefuseSystemCalls() {
  if (kArchitecture == 0) {
    errno = ENOSYS;
    return false;
  }
  Program filter = Filter();
  const sock_fprog program = {.len = static_cast<uint16_t>(filter.size()),
                              .filter = filter.data()};
  return ::syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

}  // namespace quant

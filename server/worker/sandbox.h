// What a worker process gives up before it looks at a model: whatever a file
// makes of it, it can't reach the network, start programs, look into other
// processes, or write outside of its job's work directory.
//
//   no_new_privs          set-user-id programs give nothing (prctl(2))
//   seccomp filter        no sockets, no io_uring (which has sockets of its
//                         own), no exec, no second process, no ptrace, no
//                         signals or limits to others, no mounts, namespaces,
//                         modules or keys, no changes of files' rights, owners
//                         and times (seccomp(2), syscall_filter.h)
//   Landlock, Linux 5.13  writes below the work directory only (landlock(7));
//                         a file can be cut short elsewhere before Linux 6.2
//   rlimits               no core dump, few open files
//
// What it may still do: read what the server's user may read, compute, and
// talk over the socket that it was born with.
#ifndef QUANT_SERVER_WORKER_SANDBOX_H_
#define QUANT_SERVER_WORKER_SANDBOX_H_

#include <cstdint>
#include <string>

namespace quant {

// For this process, and for good. To be called while it has one thread. Answers
// what could not be had, in words, or nothing: an old kernel is no reason not
// to work, but one to be told.
std::string EnterSandbox(const std::string& work_dir);

// No file may become longer. A write beyond fails with EFBIG.
void LimitFileSize(int64_t bytes);

}  // namespace quant

#endif  // QUANT_SERVER_WORKER_SANDBOX_H_

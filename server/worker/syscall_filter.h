// The system calls that a worker process does without, as a program for
// seccomp(2).
//
// It names what is refused, not what is allowed (ADR 21). What is refused
// answers EPERM; clone3(2) answers ENOSYS, as its arguments can't be looked at,
// and the C library then takes clone(2).
#ifndef QUANT_SERVER_WORKER_SYSCALL_FILTER_H_
#define QUANT_SERVER_WORKER_SYSCALL_FILTER_H_

namespace quant {

// For this process and its threads, for good; no_new_privs must be set. False
// with errno when the kernel has no filters, or we have none for the machine.
bool RefuseSystemCalls();

}  // namespace quant

#endif  // QUANT_SERVER_WORKER_SYSCALL_FILTER_H_

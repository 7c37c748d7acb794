// Descriptors that connections can't take.
//
// When a process is out of descriptors, the listener of gRPC 1.51 stops for
// good: it logs the error of accept4 and never asks again. And before that, the
// store can open no file. So this program has an accept4 of its own, which
// gRPC calls as the C library's: it closes connections that would take one of
// the last descriptors, and never says that there are none.
#ifndef QUANT_SERVER_API_ACCEPT_H_
#define QUANT_SERVER_API_ACCEPT_H_

#include <cstdint>

namespace quant {

// Of the process's limit, for files and for the processes of attempts.
inline constexpr int64_t kReservedDescriptors = 128;

// Makes the soft limit of open files the hard one, from now on; linking this
// links accept4.
void ReserveDescriptors();

}  // namespace quant

#endif  // QUANT_SERVER_API_ACCEPT_H_

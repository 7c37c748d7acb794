// Whether this build is checked by AddressSanitizer or ThreadSanitizer, which
// need more time, more memory and some system calls of their own.
#ifndef QUANT_CORE_BASE_SANITIZER_H_
#define QUANT_CORE_BASE_SANITIZER_H_

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define QUANT_SANITIZED 1
#else
#define QUANT_SANITIZED 0
#endif

#endif  // QUANT_CORE_BASE_SANITIZER_H_

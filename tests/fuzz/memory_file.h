// Bytes as a file, for functions that read one.
#ifndef QUANT_TESTS_FUZZ_MEMORY_FILE_H_
#define QUANT_TESTS_FUZZ_MEMORY_FILE_H_

#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tests/fuzz/targets.h"

namespace quant::fuzz {

// The path of a file with these bytes, until the next call.
inline std::string MemoryFile(absl::string_view bytes) {
  static const int memory = ::memfd_create("fuzz", MFD_CLOEXEC);
  QUANT_FUZZ_CHECK(::ftruncate(memory, 0) == 0);
  QUANT_FUZZ_CHECK(::pwrite(memory, bytes.data(), bytes.size(), 0) ==
                   static_cast<ssize_t>(bytes.size()));
  return absl::StrCat("/proc/self/fd/", memory);
}

}  // namespace quant::fuzz

#endif  // QUANT_TESTS_FUZZ_MEMORY_FILE_H_

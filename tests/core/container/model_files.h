// Model files for tests, byte by byte.
#ifndef QUANT_TESTS_CORE_CONTAINER_MODEL_FILES_H_
#define QUANT_TESTS_CORE_CONTAINER_MODEL_FILES_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "tests/core/base/temp_dir.h"

namespace quant {

// The 8 bytes of a header length.
inline std::string LengthBytes(uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) {
    bytes += static_cast<char>(length >> (8 * i) & 0xFF);
  }
  return bytes;
}

// A file with this header text and so many bytes of data 0, 1, 2...
inline std::string SafetensorsBytes(absl::string_view json,
                                    int64_t data_bytes) {
  std::string bytes = LengthBytes(json.size());
  bytes.append(json.data(), json.size());
  for (int64_t i = 0; i < data_bytes; ++i) bytes += static_cast<char>(i & 0xFF);
  return bytes;
}

}  // namespace quant

#endif  // QUANT_TESTS_CORE_CONTAINER_MODEL_FILES_H_

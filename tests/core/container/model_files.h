// Model files for tests, byte by byte, in a folder that goes away.
#ifndef QUANT_TESTS_CORE_CONTAINER_MODEL_FILES_H_
#define QUANT_TESTS_CORE_CONTAINER_MODEL_FILES_H_

#include <stdlib.h>

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "core/base/file.h"
#include "gtest/gtest.h"

namespace quant {

class TempDir {
 public:
  TempDir() {
    std::string pattern = testing::TempDir() + "/quant_container_XXXXXX";
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    path_ = *ResolvePath(pattern);
  }
  ~TempDir() { EXPECT_TRUE(RemoveTree(path_).ok()); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string File(absl::string_view name) const {
    return JoinPath(path_, name);
  }
  // Writes a file and returns its path.
  std::string Write(absl::string_view name, absl::string_view bytes) const {
    const std::string path = File(name);
    EXPECT_TRUE(MakeDirectories(ParentPath(path)).ok());
    EXPECT_TRUE(WriteFileAtomically(path, bytes, false).ok());
    return path;
  }

 private:
  std::string path_;
};

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

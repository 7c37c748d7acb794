// A folder for one test, which goes away with it.
#ifndef QUANT_TESTS_CORE_BASE_TEMP_DIR_H_
#define QUANT_TESTS_CORE_BASE_TEMP_DIR_H_

#include <stdlib.h>

#include <string>

#include "absl/strings/string_view.h"
#include "core/base/file.h"
#include "gtest/gtest.h"

namespace quant {

class TempDir {
 public:
  TempDir() {
    std::string pattern = testing::TempDir() + "/quant_test_XXXXXX";
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

}  // namespace quant

#endif  // QUANT_TESTS_CORE_BASE_TEMP_DIR_H_

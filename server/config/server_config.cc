#include "server/config/server_config.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/file.h"

namespace quant {
namespace {

constexpr int64_t kMaxProcFileBytes = 1 << 20;

// A control group's limit, or -1 where there is none. Kernel files have no
// size, so they can't be read by ReadFile.
int64_t ReadLimit(const std::string& path) {
  auto file = File::OpenRead(path);
  if (!file.ok()) return -1;
  char text[64];
  const ssize_t n = ::read(file->fd(), text, sizeof text);
  int64_t limit = 0;
  if (n <= 0 || !absl::SimpleAtoi(absl::string_view(text, n), &limit)) {
    return -1;
  }
  return limit;
}

// This process's group below the mount point of the second hierarchy version.
std::string CgroupPath() {
  auto file = File::OpenRead("/proc/self/cgroup");
  if (!file.ok()) return "";
  std::string text(kMaxProcFileBytes, '\0');
  const ssize_t n = ::read(file->fd(), text.data(), text.size());
  text.resize(std::max<ssize_t>(n, 0));
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::ConsumePrefix(&line, "0::")) return std::string(line);
  }
  return "";
}

}  // namespace

int64_t AvailableMemoryBytes() {
  int64_t limit = static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) *
                  static_cast<int64_t>(::sysconf(_SC_PAGESIZE));
  const int64_t limits[] = {
      ReadLimit(absl::StrCat("/sys/fs/cgroup", CgroupPath(), "/memory.max")),
      ReadLimit("/sys/fs/cgroup/memory.max"),
      ReadLimit("/sys/fs/cgroup/memory/memory.limit_in_bytes")};
  for (const int64_t candidate : limits) {
    if (candidate > 0) limit = std::min(limit, candidate);
  }
  return limit;
}

}  // namespace quant

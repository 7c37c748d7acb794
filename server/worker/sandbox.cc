#include "server/worker/sandbox.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "core/base/error.h"
#include "server/worker/syscall_filter.h"

namespace quant {
namespace {

// A model of many shards is read with all of them open.
constexpr rlim_t kMaxOpenFiles = 4096;

// Of kernel 6.2, which headers may not know yet.
constexpr uint64_t kAccessTruncate = 1ULL << 14;

// Everything that changes a file system, as far as the kernel's `abi` knows it.
uint64_t WritingAccess(int64_t abi) {
  uint64_t access =
      LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
      LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
      LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
      LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
      LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;
  if (abi >= 2) access |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= 3) access |= kAccessTruncate;
  return access;
}

bool AllowWritesBelow(int ruleset, uint64_t access, const std::string& path) {
  const int parent = ::open(path.c_str(), O_PATH | O_CLOEXEC | O_DIRECTORY);
  if (parent < 0) return false;
  landlock_path_beneath_attr rule = {.allowed_access = access,
                                     .parent_fd = parent};
  const bool added = ::syscall(__NR_landlock_add_rule, ruleset,
                               LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
  ::close(parent);
  return added;
}

bool KeepWritesBelow(const std::string& work_dir) {
  const int64_t abi = ::syscall(__NR_landlock_create_ruleset, nullptr, 0,
                                LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 1) return false;
  landlock_ruleset_attr attributes = {};
  attributes.handled_access_fs = WritingAccess(abi);
  const int ruleset = static_cast<int>(::syscall(
      __NR_landlock_create_ruleset, &attributes, sizeof attributes, 0));
  if (ruleset < 0) return false;
  const bool done =
      AllowWritesBelow(ruleset, attributes.handled_access_fs, work_dir) &&
      ::syscall(__NR_landlock_restrict_self, ruleset, 0) == 0;
  ::close(ruleset);
  return done;
}

bool LowerLimit(decltype(RLIMIT_CORE) what, rlim_t value) {
  rlimit limit = {};
  if (::getrlimit(what, &limit) != 0) return false;
  limit.rlim_max = std::min(limit.rlim_max, value);
  limit.rlim_cur = std::min(limit.rlim_cur, limit.rlim_max);
  return ::setrlimit(what, &limit) == 0;
}

}  // namespace

std::string EnterSandbox(const std::string& work_dir) {
  std::vector<std::string> missing;
  const auto want = [&](bool had, absl::string_view what) {
    if (!had) missing.emplace_back(ErrnoError(errno, what).message());
  };
  want(LowerLimit(RLIMIT_CORE, 0), "RLIMIT_CORE");
  want(LowerLimit(RLIMIT_NOFILE, kMaxOpenFiles), "RLIMIT_NOFILE");
  want(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
  want(KeepWritesBelow(work_dir), "landlock");
  want(RefuseSystemCalls(), "seccomp");
  return absl::StrJoin(missing, "; ");
}

void LimitFileSize(int64_t bytes) {
  // The signal would end the process without a word.
  ::signal(SIGXFSZ, SIG_IGN);
  LowerLimit(RLIMIT_FSIZE, static_cast<rlim_t>(std::max<int64_t>(bytes, 0)));
}

}  // namespace quant

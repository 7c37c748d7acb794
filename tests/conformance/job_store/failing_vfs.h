// A file system for SQLite of which the n-th operation fails, as on a bad disk.
#ifndef QUANT_TESTS_CONFORMANCE_JOB_STORE_FAILING_VFS_H_
#define QUANT_TESTS_CONFORMANCE_JOB_STORE_FAILING_VFS_H_

#include <cstdint>
#include <string>

namespace quant::testing {

// While one lives, SQLite opens its files through it. Counted are opening,
// reading, writing, truncating, syncing and deleting; all else passes through.
class FailingVfs {
 public:
  enum class Mode { kOnce, kFromThenOn };

  FailingVfs();
  ~FailingVfs();
  FailingVfs(const FailingVfs&) = delete;
  FailingVfs& operator=(const FailingVfs&) = delete;

  // Operation `n` from now on, counted from 1, fails, and in the second mode
  // all after it.
  void FailAt(int64_t n, Mode mode);
  // Nothing fails any more. Answers what did: "write of queue.db-wal"; empty
  // when it did not get that far.
  std::string Heal();
};

}  // namespace quant::testing

#endif  // QUANT_TESTS_CONFORMANCE_JOB_STORE_FAILING_VFS_H_

#include "tests/conformance/job_store/failing_vfs.h"

#include <sqlite3.h>

#include <cstring>
#include <mutex>
#include <new>

namespace quant::testing {
namespace {

// SQLite has one table of file systems, and so this has one state.
struct State {
  std::mutex mutex;
  int64_t left = 0;  // operations until the one that fails; 0: none does
  bool failing = false;
  FailingVfs::Mode mode = FailingVfs::Mode::kOnce;
  std::string failed;
};

State& TheState() {
  static State state;
  return state;
}

std::string NameOf(const char* path) {
  if (path == nullptr) return "a temporary file";
  const char* slash = std::strrchr(path, '/');
  return slash == nullptr ? path : slash + 1;
}

bool Fails(const char* what, const std::string& file) {
  State& state = TheState();
  std::lock_guard lock(state.mutex);
  if (state.failing) return true;
  if (state.left == 0 || --state.left > 0) return false;
  state.failed = std::string(what) + " of " + file;
  state.failing = state.mode == FailingVfs::Mode::kFromThenOn;
  return true;
}

// An open file; the real one's memory lies behind it.
struct FailingFile {
  sqlite3_file base;
  std::string* name;
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

FailingFile* Of(sqlite3_file* file) {
  return reinterpret_cast<FailingFile*>(file);
}

sqlite3_vfs* RealVfs() {
  static sqlite3_vfs* const vfs = sqlite3_vfs_find("unix");
  return vfs;
}

int Close(sqlite3_file* file) {
  FailingFile* const self = Of(file);
  delete self->name;
  return self->real()->pMethods->xClose(self->real());
}

int Read(sqlite3_file* file, void* out, int count, sqlite3_int64 offset) {
  FailingFile* const self = Of(file);
  if (Fails("read", *self->name)) return SQLITE_IOERR_READ;
  return self->real()->pMethods->xRead(self->real(), out, count, offset);
}

int Write(sqlite3_file* file, const void* in, int count, sqlite3_int64 offset) {
  FailingFile* const self = Of(file);
  if (Fails("write", *self->name)) return SQLITE_IOERR_WRITE;
  return self->real()->pMethods->xWrite(self->real(), in, count, offset);
}

int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  FailingFile* const self = Of(file);
  if (Fails("truncation", *self->name)) return SQLITE_IOERR_TRUNCATE;
  return self->real()->pMethods->xTruncate(self->real(), size);
}

int Sync(sqlite3_file* file, int flags) {
  FailingFile* const self = Of(file);
  if (Fails("sync", *self->name)) return SQLITE_IOERR_FSYNC;
  return self->real()->pMethods->xSync(self->real(), flags);
}

// The others, as they are.
template <auto Method, typename... Args>
auto Pass(sqlite3_file* file, Args... args) {
  sqlite3_file* const real = Of(file)->real();
  return (real->pMethods->*Method)(real, args...);
}

using M = sqlite3_io_methods;
// Version 2: shared memory for the log, but no mapping of files.
constexpr M kMethods = {
    .iVersion = 2,
    .xClose = Close,
    .xRead = Read,
    .xWrite = Write,
    .xTruncate = Truncate,
    .xSync = Sync,
    .xFileSize = Pass<&M::xFileSize, sqlite3_int64*>,
    .xLock = Pass<&M::xLock, int>,
    .xUnlock = Pass<&M::xUnlock, int>,
    .xCheckReservedLock = Pass<&M::xCheckReservedLock, int*>,
    .xFileControl = Pass<&M::xFileControl, int, void*>,
    .xSectorSize = Pass<&M::xSectorSize>,
    .xDeviceCharacteristics = Pass<&M::xDeviceCharacteristics>,
    .xShmMap = Pass<&M::xShmMap, int, int, int, void volatile**>,
    .xShmLock = Pass<&M::xShmLock, int, int, int>,
    .xShmBarrier = Pass<&M::xShmBarrier>,
    .xShmUnmap = Pass<&M::xShmUnmap, int>,
};

int Open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags,
         int* out_flags) {
  FailingFile* const self = Of(file);
  self->base.pMethods = nullptr;
  if (Fails("opening", NameOf(name))) return SQLITE_CANTOPEN;
  const int code =
      RealVfs()->xOpen(RealVfs(), name, self->real(), flags, out_flags);
  if (code != SQLITE_OK) return code;
  self->name = new std::string(NameOf(name));
  self->base.pMethods = &kMethods;
  return code;
}

int Delete(sqlite3_vfs*, const char* name, int sync_directory) {
  if (Fails("deletion", NameOf(name))) return SQLITE_IOERR_DELETE;
  return RealVfs()->xDelete(RealVfs(), name, sync_directory);
}

sqlite3_vfs& TheVfs() {
  static sqlite3_vfs vfs = [] {
    sqlite3_vfs made = *RealVfs();
    made.zName = "failing";
    made.pNext = nullptr;
    made.szOsFile += static_cast<int>(sizeof(FailingFile));
    made.xOpen = Open;
    made.xDelete = Delete;
    return made;
  }();
  return vfs;
}

}  // namespace

FailingVfs::FailingVfs() {
  sqlite3_initialize();
  sqlite3_vfs_register(&TheVfs(), /*makeDflt=*/1);
}

FailingVfs::~FailingVfs() {
  Heal();
  sqlite3_vfs_register(RealVfs(), /*makeDflt=*/1);
  sqlite3_vfs_unregister(&TheVfs());
}

void FailingVfs::FailAt(int64_t n, Mode mode) {
  State& state = TheState();
  std::lock_guard lock(state.mutex);
  state.left = n;
  state.failing = false;
  state.mode = mode;
  state.failed.clear();
}

std::string FailingVfs::Heal() {
  State& state = TheState();
  std::lock_guard lock(state.mutex);
  state.left = 0;
  state.failing = false;
  return state.failed;
}

}  // namespace quant::testing

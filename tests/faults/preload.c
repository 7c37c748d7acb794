// Faults from outside: put before the C library of a quantd by LD_PRELOAD, so
// that the program itself needs no switches for tests.
//
//   QUANT_FAILPOINT=CALL:PATH:WHEN:N   kill -9 of the process that makes the
//       N-th CALL (fsync, fdatasync, rename) on a file whose path ends with
//       PATH, "before" or "after" it is done.
//   QUANT_DISK=FOLDER   keeps there, of every file whose name begins with
//       "queue.sqlite", what a disk would hold after a power cut: its bytes at its
//       last fsync. With a file "lies" in the folder the disk lies: it says yes
//       and keeps nothing.
//   QUANT_CLOCK=FILE   adds the seconds in FILE (8 bytes, two's complement) to
//       the wall clock, and the next 8 to the clocks that never jump.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static struct {
  char call[16], path[64], when[8];
  int at;
} point;
static atomic_int passed;
static const char* disk;
static const int64_t* jumps;

__attribute__((constructor)) static void Read(void) {
  const char* text = getenv("QUANT_FAILPOINT");
  if (text != NULL &&
      sscanf(text, "%15[^:]:%63[^:]:%7[^:]:%d", point.call, point.path,
             point.when, &point.at) != 4) {
    abort();
  }
  disk = getenv("QUANT_DISK");
  const char* clock_file = getenv("QUANT_CLOCK");
  if (clock_file == NULL) return;
  const int fd = open(clock_file, O_RDONLY | O_CLOEXEC);
  void* map = mmap(NULL, 16, PROT_READ, MAP_SHARED, fd, 0);
  if (fd < 0 || map == MAP_FAILED) abort();
  jumps = map;
  close(fd);
}

static int EndsWith(const char* text, const char* end) {
  const size_t a = strlen(text), b = strlen(end);
  return a >= b && strcmp(text + a - b, end) == 0;
}

// Whether this is the call that kills, before (or after) it is done.
static int Counts(const char* call, const char* path) {
  return point.at != 0 && strcmp(call, point.call) == 0 &&
         EndsWith(path, point.path) &&
         atomic_fetch_add(&passed, 1) + 1 == point.at;
}

static void DieIf(int counts, const char* when) {
  if (counts && strcmp(when, point.when) == 0) kill(getpid(), SIGKILL);
}

static void PathOf(int fd, char* out, size_t size) {
  char link[64];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, out, size - 1);
  out[n > 0 ? n : 0] = 0;
}

// What the disk holds of `path` from now on.
static void Keep(const char* path) {
  const char* name = strrchr(path, '/');
  if (disk == NULL || name == NULL) return;
  if (strncmp(name, "/queue.sqlite", 13) != 0) return;
  char lies[4096], kept[4096], grown[4200];
  snprintf(lies, sizeof(lies), "%s/lies", disk);
  if (access(lies, F_OK) == 0) return;
  snprintf(kept, sizeof(kept), "%s%s", disk, name);
  snprintf(grown, sizeof(grown), "%s.new", kept);
  const int from = open(path, O_RDONLY | O_CLOEXEC);
  const int to = open(grown, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  static char block[1 << 16];  // one thread writes the queue
  ssize_t n;
  while ((n = read(from, block, sizeof(block))) > 0) {
    if (write(to, block, (size_t)n) != n) abort();
  }
  close(from);
  close(to);
  if (REAL(rename)(grown, kept) != 0) abort();
}

static int Sync(const char* call, int (*real)(int), int fd) {
  char path[4096];
  PathOf(fd, path, sizeof(path));
  const int counts = Counts(call, path);
  DieIf(counts, "before");
  const int result = real(fd);
  Keep(path);
  DieIf(counts, "after");
  return result;
}

int fsync(int fd) { return Sync("fsync", REAL(fsync), fd); }

int fdatasync(int fd) { return Sync("fdatasync", REAL(fdatasync), fd); }

int rename(const char* from, const char* to) {
  const int counts = Counts("rename", to);
  DieIf(counts, "before");
  const int result = REAL(rename)(from, to);
  DieIf(counts, "after");
  return result;
}

int renameat2(int from_fd, const char* from, int to_fd, const char* to,
              unsigned flags) {
  const int counts = Counts("rename", to);
  DieIf(counts, "before");
  const int result = REAL(renameat2)(from_fd, from, to_fd, to, flags);
  DieIf(counts, "after");
  return result;
}

int clock_gettime(clockid_t which, struct timespec* out) {
  static __typeof__(&clock_gettime) real;
  if (real == NULL) real = REAL(clock_gettime);
  const int result = real(which, out);
  if (result != 0 || jumps == NULL) return result;
  if (which == CLOCK_REALTIME) out->tv_sec += jumps[0];
  if (which == CLOCK_MONOTONIC) out->tv_sec += jumps[1];
  return result;
}

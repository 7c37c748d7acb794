// The part of metrics.h that reads /proc/self.
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "server/telemetry/metrics.h"

namespace quant {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;

prometheus::Gauge& MakeGauge(prometheus::Registry& registry, const char* name,
                             const char* help) {
  return BuildGauge().Name(name).Help(help).Register(registry).Add({});
}

std::string ReadProc(const char* path) {
  std::ifstream in(path);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// Without the descriptor that counts.
int64_t CountOpenFds() {
  DIR* directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  int64_t count = -1;
  while (const dirent* entry = ::readdir(directory)) {
    if (entry->d_name[0] != '.') ++count;
  }
  ::closedir(directory);
  return count;
}

// Seconds since the epoch at which this process began: field 22 of
// /proc/self/stat counts clock ticks since boot.
double StartTime() {
  const std::string stat = ReadProc("/proc/self/stat");
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  double start_ticks = 0;
  fields >> start_ticks;
  const std::string boot = ReadProc("/proc/stat");
  const size_t at = boot.find("btime ");
  if (at == std::string::npos) return 0;
  return std::stod(boot.substr(at + 6)) +
         start_ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

ProcessMetrics::ProcessMetrics(prometheus::Registry& registry)
    : resident_(MakeGauge(registry, "process_resident_memory_bytes",
                          "Resident memory of the server process")),
      virtual_(MakeGauge(registry, "process_virtual_memory_bytes",
                         "Virtual memory of the server process")),
      open_fds_(MakeGauge(registry, "process_open_fds",
                          "Open file descriptors of the server process")),
      max_fds_(MakeGauge(registry, "process_max_fds",
                         "Most file descriptors the process may open")),
      start_time_(MakeGauge(registry, "process_start_time_seconds",
                            "Start of the process since the Unix epoch")),
      cpu_seconds_(BuildCounter()
                       .Name("process_cpu_seconds_total")
                       .Help("CPU time of the server process")
                       .Register(registry)
                       .Add({})) {
  start_time_.Set(StartTime());
}

void ProcessMetrics::Update() {
  std::lock_guard lock(mutex_);
  const double page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  double virtual_pages = 0;
  double resident_pages = 0;
  std::istringstream(ReadProc("/proc/self/statm")) >> virtual_pages >>
      resident_pages;
  virtual_.Set(virtual_pages * page);
  resident_.Set(resident_pages * page);
  open_fds_.Set(static_cast<double>(CountOpenFds()));
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    max_fds_.Set(static_cast<double>(limit.rlim_cur));
  }
  rusage usage;
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    const double total = Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
    cpu_seconds_.Increment(std::max(0.0, total - cpu_seconds_.Value()));
  }
}

}  // namespace quant

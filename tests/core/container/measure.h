// What a test's own thread and process have spent.
#ifndef QUANT_TESTS_CORE_CONTAINER_MEASURE_H_
#define QUANT_TESTS_CORE_CONTAINER_MEASURE_H_

#include <time.h>

#include <cstdint>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace quant {

// Bytes that this process has asked the system to read so far.
inline int64_t BytesRead() {
  std::ifstream io("/proc/self/io");
  std::string key;
  int64_t value = 0;
  while (io >> key >> value) {
    if (key == "rchar:") return value;
  }
  ADD_FAILURE() << "/proc/self/io has no rchar";
  return 0;
}

// What one such question itself reads.
inline int64_t BytesReadByMeasuring() {
  const int64_t before = BytesRead();
  return BytesRead() - before;
}

// Processor time of this thread: what others do on the machine is not counted.
inline double ThreadSeconds() {
  timespec now;
  EXPECT_EQ(::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
  return static_cast<double>(now.tv_sec) +
         static_cast<double>(now.tv_nsec) / 1e9;
}

}  // namespace quant

#endif  // QUANT_TESTS_CORE_CONTAINER_MEASURE_H_

// The test binary is also the program of its child processes, as quantd is.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "server/worker/attempt_main.h"

int main(int argc, char** argv) {
  if (argc == 4 && std::strcmp(argv[1], "attempt") == 0) {
    return quant::RunAttempt(std::atoi(argv[3]));
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

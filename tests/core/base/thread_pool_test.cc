#include "core/base/thread_pool.h"

#include <atomic>
#include <barrier>
#include <cstdint>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace quant {
namespace {

TEST(ThreadPoolTest, CallsEveryIndexOnce) {
  for (int threads : {1, 2, 7}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    std::vector<std::atomic<int>> calls(threads);
    pool.RunOnAll([&](int index) { ++calls[index]; });
    for (const auto& count : calls) EXPECT_EQ(count, 1);
  }
}

TEST(ThreadPoolTest, RunsAtTheSameTimeAndIndexZeroOnTheCaller) {
  constexpr int kThreads = 4;
  ThreadPool pool(kThreads);
  std::barrier barrier(kThreads);  // passes only when all have arrived
  std::vector<std::thread::id> ids(kThreads);
  pool.RunOnAll([&](int index) {
    barrier.arrive_and_wait();
    ids[index] = std::this_thread::get_id();
  });
  EXPECT_EQ(ids[0], std::this_thread::get_id());
  EXPECT_EQ(std::set<std::thread::id>(ids.begin(), ids.end()).size(),
            static_cast<size_t>(kThreads));
}

// Plain memory written by one round is read by the next: a missing
// synchronisation is a race that the thread sanitizer sees.
TEST(ThreadPoolTest, RoundsFollowOneAnother) {
  constexpr int kRounds = 2000;
  ThreadPool pool(3);
  std::vector<int64_t> sums(3);
  for (int round = 0; round < kRounds; ++round) {
    const int64_t before = sums[0] + sums[1] + sums[2];
    ASSERT_EQ(before, 3 * round);
    pool.RunOnAll([&](int index) { ++sums[index]; });
  }
}

TEST(ThreadPoolTest, EndsWithoutWork) {
  for (int i = 0; i < 100; ++i) ThreadPool pool(3);
}

}  // namespace
}  // namespace quant

#include "core/network/hidden_states.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/core/base/temp_dir.h"

namespace quant {
namespace {

TEST(HiddenStates, AreTheSameInMemoryAndInAFile) {
  TempDir dir;
  for (int64_t memory : {int64_t{0}, int64_t{1} << 20}) {
    auto states = HiddenStates::Create(
        10, 3, {.memory_bytes = memory, .directory = dir.path()});
    ASSERT_TRUE(states.ok()) << states.status();
    EXPECT_EQ(states->spilled(), memory == 0);
    std::vector<float> values(30), back(12);
    std::iota(values.begin(), values.end(), 0.5f);
    ASSERT_TRUE(states->Store(0, 10, values.data()).ok());
    ASSERT_TRUE(states->Store(4, 1, values.data()).ok());
    ASSERT_TRUE(states->Load(3, 4, back.data()).ok());
    EXPECT_EQ(back[0], 9.5f);
    EXPECT_EQ(back[3], 0.5f);
    EXPECT_EQ(back[6], 15.5f);
  }
  // The file has no name that could stay behind.
  EXPECT_TRUE(ListDirectory(dir.path())->empty());
}

TEST(HiddenStates, SizesThatOverflowAreErrors) {
  EXPECT_FALSE(
      HiddenStates::Create(int64_t{1} << 40, int64_t{1} << 40, {}).ok());
}

}  // namespace
}  // namespace quant

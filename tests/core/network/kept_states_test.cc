#include "core/network/kept_states.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>

#include "core/base/file.h"
#include "tests/core/base/temp_dir.h"

namespace quant {
namespace {

// A row is more than half of what is read at a time.
constexpr int64_t kRows = 3, kCols = 150'000;

HiddenStates States(int64_t rows, int64_t cols, float first) {
  auto states = HiddenStates::Create(rows, cols, {});
  std::vector<float> values(rows * cols);
  std::iota(values.begin(), values.end(), first);
  EXPECT_TRUE(states.ok() && states->Store(0, rows, values.data()).ok());
  return *std::move(states);
}

float FirstOf(const HiddenStates& states) {
  std::vector<float> row(states.cols());
  EXPECT_TRUE(states.Load(0, 1, row.data()).ok());
  return row[0];
}

class KeptStatesTest : public ::testing::Test {
 protected:
  KeepOptions Options(const std::string& identity = "a") {
    return {.path = dir_.path() + "/kept/states",
            .identity = identity,
            .every = {},
            .kept = [this](int64_t blocks) { kept_.push_back(blocks); }};
  }

  void Keep(int64_t blocks, float first) {
    HiddenStates big = States(kRows, kCols, first);
    HiddenStates small = States(2, 5, -first);
    ASSERT_TRUE(
        KeptStates(Options()).Store(blocks, {&big, &small}, "notes").ok());
  }

  // What it loads into states of ones; whether those changed.
  int64_t Load(const KeepOptions& options, int64_t most = 9) {
    HiddenStates big = States(kRows, kCols, 1), small = States(2, 5, 1);
    notes_ = "none";
    const auto blocks = KeptStates(options).Load(most, {&big, &small}, notes_);
    EXPECT_TRUE(blocks.ok()) << blocks.status();
    big_ = FirstOf(big);
    small_ = FirstOf(small);
    return blocks.value_or(-1);
  }

  void ExpectNothing(const KeepOptions& options, int64_t most = 9) {
    EXPECT_EQ(Load(options, most), 0);
    EXPECT_EQ(big_, 1);
    EXPECT_EQ(small_, 1);
    EXPECT_EQ(notes_, "none");
  }

  TempDir dir_;
  std::vector<int64_t> kept_;
  std::string notes_;
  float big_ = 0, small_ = 0;
};

TEST_F(KeptStatesTest, ComeBackWithWhatWasNoted) {
  ExpectNothing(Options());
  Keep(2, 7);
  Keep(3, 8);
  EXPECT_EQ(Load(Options()), 3);
  EXPECT_EQ(big_, 8);
  EXPECT_EQ(small_, -8);
  EXPECT_EQ(notes_, "notes");
  EXPECT_THAT(kept_, ::testing::ElementsAre(2, 3));
  EXPECT_EQ(ListDirectory(dir_.path() + "/kept")->size(), 1u);
  ASSERT_TRUE(KeptStates(Options()).Remove().ok());
  ExpectNothing(Options());
}

TEST_F(KeptStatesTest, OfOtherWorkAreNotTaken) {
  Keep(3, 7);
  ExpectNothing(Options("b"));
  ExpectNothing(Options(), /*most=*/2);
}

TEST_F(KeptStatesTest, ThatAreDamagedAreNotTaken) {
  Keep(3, 7);
  const std::string path = Options().path;
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path));
  const File file = *File::OpenWrite(path);
  for (int64_t at :
       {int64_t{0}, int64_t{9}, int64_t{20}, int64_t{30}, size / 2, size - 1}) {
    uint8_t byte = 0;
    ASSERT_TRUE(file.ReadAt(at, {&byte, 1}).ok());
    const uint8_t other = byte ^ 1;
    ASSERT_TRUE(file.WriteAt(at, {&other, 1}).ok());
    ExpectNothing(Options());
    ASSERT_TRUE(file.WriteAt(at, {&byte, 1}).ok());
  }
  EXPECT_EQ(Load(Options()), 3);
  for (int64_t length : {size + 1, size - 1, int64_t{10}, int64_t{0}}) {
    ASSERT_TRUE(file.Truncate(length).ok());
    ExpectNothing(Options());
  }
}

TEST_F(KeptStatesTest, AreKeptNoMoreOftenThanAsked) {
  KeepOptions options = Options();
  options.every = std::chrono::hours(1);
  HiddenStates states = States(2, 5, 1);
  KeptStates kept(options);
  ASSERT_TRUE(kept.Store(1, {&states}, "").ok());
  EXPECT_FALSE(PathExists(options.path));
  options.path = "";
  options.every = {};
  ASSERT_TRUE(KeptStates(options).Store(1, {&states}, "").ok());
  EXPECT_TRUE(kept_.empty());
}

}  // namespace
}  // namespace quant

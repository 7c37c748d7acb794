// Statistics on disk: what is read is what was written, an interrupted run goes
// on, and nothing else is taken for them.
#include "core/calibrate/stored_statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/base/error.h"
#include "core/calibrate/input_spaces.h"
#include "core/calibrate/input_summary.h"
#include "core/calibrate/statistics_files.h"
#include "core/network/network.h"
#include "core/tokenizer/id_files.h"
#include "tests/core/base/temp_dir.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

const std::string kExamples = std::string(QUANT_SOURCE_DIR) + "/examples/";
constexpr int64_t kLength = 32;

DatasetFile Text(int64_t sequences) {
  DatasetFile text;
  text.data.ids = *ReadIdFile(kExamples + "tokens/tiny-own_sampled_calib.npy");
  text.data.ids.resize(sequences * kLength);
  text.data.sequences = sequences;
  text.data.sequence_length = kLength;
  text.data.digest = std::string(63, 'd') + std::to_string(sequences % 10);
  text.sha256 = std::string(64, 'a');
  text.name = "text.npy";
  return text;
}

class StoredStatisticsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto model = OpenModel(kExamples + "tiny-own-pad768-bf16");
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    options_.pool = &pool_;
  }

  absl::StatusOr<StatisticsWritten> Write(StatisticsRequest request,
                                          int64_t sequences = 4) {
    return WriteStatistics(*model_, Text(sequences), request, options_);
  }

  std::string ReadAll(const std::string& name) const {
    std::ifstream in(statistics_ + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  void WriteAll(const std::string& name, const std::string& bytes) const {
    std::ofstream(statistics_ + "/" + name, std::ios::binary) << bytes;
  }

  TempDir dir_;
  std::string statistics_ = dir_.File("statistics");
  ThreadPool pool_{2};
  RunOptions options_;
  std::unique_ptr<ModelReader> model_;
};

TEST_F(StoredStatisticsTest, AreThoseOfTheText) {
  ASSERT_TRUE(Write({.directory = statistics_}).ok());
  const auto stored = StoredStatistics::Open(statistics_);
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ(stored->text().data.sequences, 4);
  EXPECT_EQ(stored->text().data.digest, Text(4).data.digest);
  const auto summaries = stored->Summaries();
  ASSERT_TRUE(summaries.ok()) << summaries.status();
  EXPECT_EQ(*summaries, *SummarizeInputs(*model_, Text(4).data, options_));

  // The Hessian of the first block's queries, again, and that of the keys.
  const auto network = Network::Open(*model_);
  const DatasetFile text = Text(4);
  const Sequences sequences{.tokens = text.data.ids, .length = kLength};
  const BlockPasses passes(**network, sequences, options_);
  HiddenStates states = *(*network)->Embed(sequences, options_.spill);
  Block block = *passes.Load(0);
  const std::vector<InputSpace> spaces = InputSpacesOf(block);
  Collector collector(pool_, spaces, true);
  ASSERT_TRUE(passes.Observe(block, 0, collector.observer(), states).ok());
  const auto file = stored->OpenBlock(0);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->CheckWeights(block).ok());
  const std::string name = spaces[0].linears[0]->name;
  const auto read = file->Read(name, spaces[0].columns(), true);
  ASSERT_TRUE(read.ok()) << read.status();
  const int64_t n = read->columns();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i; j < n; ++j) {
      const float expected = collector.of(0).hessian()[i * n + j];
      ASSERT_EQ(read->hessian()[i * n + j], expected) << i << ", " << j;
      ASSERT_EQ(read->hessian()[j * n + i], expected) << j << ", " << i;
    }
  }
}

TEST_F(StoredStatisticsTest, AnInterruptedRunGoesOn) {
  std::stop_source stop;
  options_.stop = stop.get_token();
  options_.progress = [&](double) { stop.request_stop(); };
  EXPECT_EQ(Write({.directory = statistics_}).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_FALSE(StoredStatistics::IsAt(statistics_));
  options_.stop = {};
  options_.progress = {};
  const auto written = Write({.directory = statistics_});
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(written->blocks_kept, 1);
  const std::string other = dir_.File("other");
  ASSERT_TRUE(Write({.directory = other}).ok());
  EXPECT_EQ(StoredStatistics::Open(statistics_)->sha256(),
            StoredStatistics::Open(other)->sha256());
}

TEST_F(StoredStatisticsTest, OfAnotherTextAreReplacedOnRequestOnly) {
  ASSERT_TRUE(Write({.directory = statistics_}).ok());
  const auto refused = Write({.directory = statistics_}, 5);
  EXPECT_EQ(GetReason(refused.status()), Reason::kOutputExists);
  const auto replaced = Write({.directory = statistics_, .overwrite = true}, 5);
  ASSERT_TRUE(replaced.ok()) << replaced.status();
  EXPECT_EQ(replaced->blocks_kept, 0);
  EXPECT_EQ(StoredStatistics::Open(statistics_)->text().data.sequences, 5);
}

TEST_F(StoredStatisticsTest, ADamagedBlockIsFound) {
  ASSERT_TRUE(Write({.directory = statistics_, .hessians = false}).ok());
  std::string bytes = ReadAll("block-00001.safetensors");
  bytes.back() ^= 1;
  WriteAll("block-00001.safetensors", bytes);
  const auto stored = StoredStatistics::Open(statistics_);
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_FALSE(stored->has_hessians());
  EXPECT_TRUE(stored->OpenBlock(0).ok());
  EXPECT_EQ(GetReason(stored->OpenBlock(1).status()), Reason::kDigestMismatch);
  bytes.pop_back();
  WriteAll("block-00001.safetensors", bytes);
  EXPECT_THAT(StoredStatistics::Open(statistics_).status().message(),
              HasSubstr("were written"));
}

TEST_F(StoredStatisticsTest, OfOtherWeightsAreRefused) {
  ASSERT_TRUE(Write({.directory = statistics_, .hessians = false}).ok());
  Block block = *LoadBlock((*Network::Open(*model_))->loader(),
                           (*Network::Open(*model_))->config(), 0);
  block.o.weight[3] += 1;
  const auto stored = StoredStatistics::Open(statistics_);
  EXPECT_EQ(GetReason(stored->OpenBlock(0)->CheckWeights(block)),
            Reason::kSourceChanged);
}

class HostileStatisticsTest
    : public StoredStatisticsTest,
      public ::testing::WithParamInterface<const char*> {};

TEST_P(HostileStatisticsTest, IsRefused) {
  std::filesystem::create_directories(statistics_);
  WriteAll(kStatisticsName, GetParam());
  EXPECT_EQ(StoredStatistics::Open(statistics_).status().code(),
            absl::StatusCode::kDataLoss);
}

INSTANTIATE_TEST_SUITE_P(
    Texts, HostileStatisticsTest,
    ::testing::Values(
        "", "[]", "{}", R"({"format": "quant-statistics-v2"})",
        R"({"format": "quant-statistics-v1"})",
        R"({"format": "quant-statistics-v1", "block_sha256": 7})",
        R"({"format": "quant-statistics-v1", "text": {"sequences": -1}})"));

}  // namespace
}  // namespace quant

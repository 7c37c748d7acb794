// The protocol of perplexity on real models, against figures that other
// programs computed.
#include "core/evaluate/evaluate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/container/model_reader.h"
#include "core/tokenizer/id_files.h"
#include "tests/core/tolerances.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

const std::string kRoot = QUANT_SOURCE_DIR;
const std::string kBundled = kRoot + "/examples/tiny-own-pad768-bf16";
const std::string kTokens =
    kRoot + "/examples/tokens/tiny-own_sampled_eval.npy";
// Models that the project may not carry; used where they lie beside it.
const std::string kShared = kRoot + "/../shared/data";

struct Opened {
  std::unique_ptr<ModelReader> model;
  std::unique_ptr<Network> network;
};

Opened OpenNetwork(const std::string& path) {
  Opened opened;
  auto model = OpenModel(path);
  EXPECT_TRUE(model.ok()) << model.status();
  opened.model = *std::move(model);
  auto network = Network::Open(*opened.model);
  EXPECT_TRUE(network.ok()) << network.status();
  opened.network = *std::move(network);
  return opened;
}

EvaluateOptions Options(ThreadPool& pool, int64_t length) {
  EvaluateOptions options;
  options.sequence_length = length;
  options.run.pool = &pool;
  return options;
}

nlohmann::json Golden() {
  std::ifstream file(kRoot + "/tests/golden/tiny-own-pad768-bf16.json");
  return nlohmann::json::parse(file);
}

TEST(Evaluate, BundledModelGivesTheGoldenPerplexity) {
  const Opened opened = OpenNetwork(kBundled);
  ThreadPool pool(2);
  const auto tokens = *ReadIdFile(kTokens);
  const auto result =
      Evaluate(*opened.network, nullptr, tokens, Options(pool, 256));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->windows, 64);
  EXPECT_EQ(result->predicted_tokens, 64 * 255);
  EXPECT_NEAR(result->perplexity, Golden()["perplexity"].get<double>(),
              kPerplexitySlack);
  EXPECT_FALSE(result->divergence);
}

TEST(Evaluate, BundledModelGivesTheGoldenLogits) {
  const nlohmann::json golden = Golden();
  const Opened opened = OpenNetwork(kBundled);
  ThreadPool pool(2);
  const auto ids = golden["ids"].get<std::vector<int32_t>>();
  const int64_t length = static_cast<int64_t>(ids.size());
  RunOptions options;
  options.pool = &pool;
  auto states = opened.network->Run({.tokens = ids, .length = length}, options);
  ASSERT_TRUE(states.ok()) << states.status();
  const auto head = Head::Load(*opened.network);
  ASSERT_TRUE(head.ok()) << head.status();
  std::vector<float> hidden(length * opened.network->config().hidden);
  std::vector<float> logits(length * opened.network->config().vocabulary);
  ASSERT_TRUE(states->Load(0, length, hidden.data()).ok());
  head->Logits(pool, hidden.data(), length, logits.data());
  const auto expected = golden["last_logits"].get<std::vector<double>>();
  const float* last =
      logits.data() + (length - 1) * opened.network->config().vocabulary;
  ASSERT_FALSE(expected.empty());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(last[i], expected[i], kLogitSlack) << i;
  }
}

// The same bits at any number of threads, in memory or spilled.
TEST(Evaluate, ThreadsAndSpillingDoNotShow) {
  const Opened opened = OpenNetwork(kBundled);
  auto tokens = *ReadIdFile(kTokens);
  tokens.resize(12 * 100);
  std::vector<double> found;
  for (int threads : {1, 3}) {
    ThreadPool pool(threads);
    EvaluateOptions options = Options(pool, 100);
    if (threads == 3) options.run.spill.memory_bytes = 0;
    found.push_back(Evaluate(*opened.network, nullptr, tokens, options)->nll);
  }
  EXPECT_EQ(found[0], found[1]);
}

TEST(Evaluate, AModelDoesNotDivergeFromItself) {
  const Opened opened = OpenNetwork(kBundled);
  ThreadPool pool(2);
  auto tokens = *ReadIdFile(kTokens);
  tokens.resize(4 * 64);
  const auto result = Evaluate(*opened.network, opened.network.get(), tokens,
                               Options(pool, 64));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->divergence->max, 0);
  EXPECT_EQ(result->divergence->top1_agreement, 1);
  EXPECT_EQ(result->nll, *result->reference_nll);
  ASSERT_FALSE(result->layers.empty());
  for (const LayerFigures& layer : result->layers) {
    EXPECT_EQ(layer.noise, 0);
    EXPECT_GT(layer.signal, 0);
    EXPECT_FALSE(layer.SqnrDb());
  }
}

TEST(Evaluate, WhatCannotBeRunIsRefused) {
  const Opened opened = OpenNetwork(kBundled);
  ThreadPool pool(1);
  const auto expect = [&](std::vector<int32_t> tokens, int64_t length,
                          const char* text) {
    const auto result =
        Evaluate(*opened.network, nullptr, tokens, Options(pool, length));
    ASSERT_FALSE(result.ok());
    EXPECT_THAT(result.status().message(), HasSubstr(text));
  };
  expect({1, 2, 3}, 4, "3 tokens");
  expect({1, 2048}, 2, "token 1: id 2048");
  expect({1, -1}, 2, "id -1");
  expect({1, 2}, 1, "sequence length");
  std::stop_source stop;
  stop.request_stop();
  EvaluateOptions options = Options(pool, 2);
  options.run.stop = stop.get_token();
  const std::vector<int32_t> two = {1, 2};
  EXPECT_TRUE(absl::IsCancelled(
      Evaluate(*opened.network, nullptr, two, options).status()));
}

// Figures of a PyTorch implementation; see the README beside the models.
TEST(Evaluate, ModelsBesideTheSourcesGiveTheirRecordedPerplexity) {
  struct Case {
    const char* model;
    const char* tokens;
    int64_t length;
    double perplexity;
  };
  for (const Case& c :
       {Case{"stories260K", "stories260K_eval", 512, 3.912195},
        Case{"stories260K-bf16", "stories260K_eval", 512, 3.911491},
        Case{"tiny-own", "tiny-own_eval", 256, 38.633545}}) {
    const std::string path = kShared + "/models/" + c.model;
    if (!PathExists(path)) continue;
    const Opened opened = OpenNetwork(path);
    ThreadPool pool(2);
    const auto tokens = *ReadIdFile(kShared + "/text/" + c.tokens + ".npy");
    const auto result =
        Evaluate(*opened.network, nullptr, tokens, Options(pool, c.length));
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_NEAR(result->perplexity, c.perplexity, kPerplexitySlack) << c.model;
  }
}

}  // namespace
}  // namespace quant

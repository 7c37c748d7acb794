// Every fuzz target over its corpus and seeded mutations of it: what a fuzzer
// has once found stays fixed, with any compiler.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/file.h"
#include "gtest/gtest.h"
#include "tests/fuzz/targets.h"

namespace quant {
namespace {

constexpr int kMutationsPerFile = 2000;
constexpr size_t kMaxBytes = 4096;

using Random = std::mt19937;

struct Target {
  const char* name;  // of the corpus folder
  void (*run)(absl::string_view);

  friend std::ostream& operator<<(std::ostream& out, const Target& target) {
    return out << target.name;
  }
};

const Target kTargets[] = {
    {"safetensors_header", fuzz::SafetensorsHeader},
    {"gguf_header", fuzz::GgufHeader},
    {"gguf_checkpoint", fuzz::GgufCheckpoint},
    {"imatrix", fuzz::Imatrix},
    {"model_index", fuzz::ModelIndex},
    {"recipe_file", fuzz::RecipeFile},
    {"decoder_config", fuzz::DecoderConfig},
    {"tokenizer_json", fuzz::TokenizerJson},
    {"tokenizer_model", fuzz::TokenizerModel},
    {"tokenize", fuzz::Tokenize},
    {"gate", fuzz::Gate},
    {"quant_settings", fuzz::QuantSettings},
    {"stored_weights", fuzz::StoredWeights},
    {"statistics", fuzz::Statistics},
    {"requests", fuzz::Requests},
};

std::string CorpusFolder(absl::string_view target = "") {
  return JoinPath(absl::StrCat(QUANT_SOURCE_DIR, "/tests/fuzz/corpus"), target);
}

std::vector<std::string> Corpus(absl::string_view target) {
  std::vector<std::string> corpus;
  const std::string folder = CorpusFolder(target);
  const auto entries = ListDirectory(folder);
  EXPECT_TRUE(entries.ok()) << entries.status();
  for (const DirEntry& entry : *entries) {
    const auto bytes = ReadFile(JoinPath(folder, entry.name), 1 << 20);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    corpus.push_back(*bytes);
  }
  return corpus;
}

// An index below `size`; 0 when it is 0. Without a distribution, whose results
// differ between libraries.
size_t Below(Random& random, size_t size) {
  return size == 0 ? 0 : random() % size;
}

void MutateOnce(Random& random, const std::vector<std::string>& corpus,
                std::string& bytes) {
  static constexpr absl::string_view kWords[] = {"\"",
                                                 "{",
                                                 "}",
                                                 "[",
                                                 "]",
                                                 ",",
                                                 ":",
                                                 "-",
                                                 "\n",
                                                 "\\u0000",
                                                 "1e999",
                                                 "..",
                                                 "/",
                                                 "9223372036854775807",
                                                 "18446744073709551616",
                                                 "null",
                                                 "\xFF",
                                                 "<=",
                                                 ">",
                                                 "*",
                                                 "&a ",
                                                 "- "};
  const size_t at = Below(random, bytes.size() + 1);
  const size_t length = Below(random, 16);
  switch (random() % 7) {
    case 0:
      if (at < bytes.size()) bytes[at] ^= static_cast<char>(1 << random() % 8);
      break;
    case 1:
      if (at < bytes.size()) bytes[at] = static_cast<char>(random());
      break;
    case 2:
      bytes.erase(at, length);
      break;
    case 3:
      bytes.insert(at, std::string(kWords[Below(random, std::size(kWords))]));
      break;
    case 4:
      bytes.insert(at, bytes.substr(Below(random, bytes.size()), length));
      break;
    case 5:
      bytes.resize(at);
      break;
    default: {
      const std::string& other = corpus[Below(random, corpus.size())];
      bytes = bytes.substr(0, at) +
              other.substr(std::min(other.size(), Below(random, other.size())));
    }
  }
}

class FuzzSmokeTest : public testing::TestWithParam<Target> {};

TEST_P(FuzzSmokeTest, TakesItsCorpusAndMutationsOfIt) {
  const std::vector<std::string> corpus = Corpus(GetParam().name);
  ASSERT_GE(corpus.size(), 5u);
  Random random(20240607);
  for (const std::string& seed : corpus) {
    GetParam().run(seed);
    for (int i = 0; i < kMutationsPerFile; ++i) {
      std::string bytes = seed;
      for (size_t edits = 1 + random() % 4; edits > 0; --edits) {
        MutateOnce(random, corpus, bytes);
      }
      bytes.resize(std::min(bytes.size(), kMaxBytes));
      SCOPED_TRACE(i);
      GetParam().run(bytes);
    }
  }
}

TEST_P(FuzzSmokeTest, TakesNothingAndNoise) {
  GetParam().run("");
  Random random(1);
  for (int i = 0; i < 1000; ++i) {
    std::string bytes(Below(random, 64), '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    GetParam().run(bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(All, FuzzSmokeTest, testing::ValuesIn(kTargets),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

// A target that is added without a corpus, or the other way round, is noticed.
TEST(FuzzSmokeTest, EveryCorpusHasItsTarget) {
  const auto folders = ListDirectory(CorpusFolder());
  ASSERT_TRUE(folders.ok());
  EXPECT_EQ(folders->size(), std::size(kTargets));
}

}  // namespace
}  // namespace quant

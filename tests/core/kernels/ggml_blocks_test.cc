// The block types of 32 weights, IQ4_XS and the ternary types: what they decode
// to, how good their scales are, and that neither depends on the CPU.
#include "core/kernels/ggml_blocks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "absl/strings/escaping.h"
#include "tests/core/kernels/block_twins.h"
#include "tests/core/kernels/golden_set.h"
#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

using GgmlBlocksTest = TargetTest;

constexpr SearchLevel kLevels[] = {SearchLevel::kFast, SearchLevel::kDefault};

int64_t BytesOf(GgmlType type, int64_t n) {
  const GgmlTypeInfo& info = InfoOf(type);
  return n / info.block_elems * info.block_bytes;
}

// Row by row, as the codec calls the kernels.
std::vector<uint8_t> Encode(GgmlType type, const std::vector<float>& x,
                            const std::vector<float>& importance,
                            SearchLevel search, int64_t cols) {
  const int64_t row_bytes = BytesOf(type, cols);
  const int64_t rows = static_cast<int64_t>(x.size()) / cols;
  std::vector<uint8_t> blocks(rows * row_bytes);
  for (int64_t row = 0; row < rows; ++row) {
    GgmlKernelsOf(type).encode(x.data() + row * cols, cols,
                               importance.empty() ? nullptr : importance.data(),
                               search, blocks.data() + row * row_bytes);
  }
  return blocks;
}

std::vector<float> Decode(GgmlType type, const std::vector<uint8_t>& blocks) {
  const GgmlTypeInfo& info = InfoOf(type);
  const int64_t n =
      static_cast<int64_t>(blocks.size()) / info.block_bytes * info.block_elems;
  std::vector<float> out(n + 1, 42.0f);
  GgmlKernelsOf(type).decode(blocks.data(), n, out.data());
  EXPECT_EQ(out.back(), 42.0f) << info.name << " wrote past the end";
  out.pop_back();
  return out;
}

std::vector<float> Normal(int64_t n, float sigma, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, sigma);
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

struct DecodedBlock {
  GgmlType type;
  const char* hex;
  std::vector<float> values;  // at 0, 1, 2, 3, 17, then 33, 100, 128, 200, 255
};

// Written by the reference quantizers: the first blocks of set 1.
const std::vector<DecodedBlock>& ReferenceBlocks() {
  static const auto* blocks = new std::vector<DecodedBlock>{
      {GgmlType::kQ4_0,
       "f41da69db5aa8b589e5a5989bbaae7349083",
       {-.0116272f, .02906799f, -.0174408f, .0116272f, .005813599f}},
      {GgmlType::kQ4_1,
       "9a1df4a9a69ec5ab9b58af6a599abcbbf734a084",
       {-.01368713f, .03007507f, -.01915741f, .01366425f, .002723694f}},
      {GgmlType::kQ5_0,
       "f419da0f5fde3c2a6a4515af3cb4a2026644ce683007",
       {-.0116272f, .02906799f, -.0174408f, .014534f, .005813599f}},
      {GgmlType::kQ5_1,
       "6c19f4a9fa0f5fde5d3d9b6727b15fc6b3248866ff795017",
       {-.01209259f, .03026581f, -.01738739f, .01438141f, .003791809f}},
      {GgmlType::kQ8_0,
       "000ee252ce2828fa611e0c112f23f0c481b71b0d321d07cd16d8cf032c225eb016fe",
       {-.01098633f, .0300293f, -.01831055f, .01464844f, .004760742f}},
      {GgmlType::kIQ4_NL,
       "100ea59ec4ab8b47ae5a4989bcbbe723a083",
       {-.0129509f, .03293228f, -.01813126f, .01406097f, .004810333f}},
      {GgmlType::kMXFP4,
       "783b164c3414c926c3c102443369ed2f0d",
       {-.01171875f, .03125f, -.015625f, .015625f, .00390625f}},
      {GgmlType::kIQ4_XS,
       "1c01b3fcd6e8201ba59ec4ab8b47ae5a4989bcbbe723a083a96b3428c8b29d473466"
       "4bf2c58057b0393d4f8b42835851ae4608679f4386c3a19f593bd7b9ab92d46e3cea"
       "f742e03286b9daa97ab3a3bac6a646b69a4c0a5a0853c86bc9a49bdb9c1859e88978"
       "a2ca5456982c74aa8e488a5a88447aa3680570739e597f82eb05cb44c5781d764f58",
       {-.01303434f, .03314447f, -.01824808f, .01415157f, .004841328f,
        -.01222181f, -.002369881f, .01191711f, .01142621f, -.01007199f}}};
  return *blocks;
}

TEST_P(GgmlBlocksTest, DecodesTheReferencesBlocks) {
  constexpr int kAt[] = {0, 1, 2, 3, 17, 33, 100, 128, 200, 255};
  for (const DecodedBlock& block : ReferenceBlocks()) {
    const std::string bytes = absl::HexStringToBytes(block.hex);
    ASSERT_EQ(static_cast<int>(bytes.size()), InfoOf(block.type).block_bytes);
    const std::vector<float> out =
        Decode(block.type, std::vector<uint8_t>(bytes.begin(), bytes.end()));
    for (size_t i = 0; i < block.values.size(); ++i) {
      // Seven printed digits.
      EXPECT_NEAR(out[kAt[i]], block.values[i], 6e-7 * std::abs(out[kAt[i]]))
          << InfoOf(block.type).name << " at " << kAt[i];
    }
  }
}

// Digits 2 0 1 1 2 are 176 in base 3, stored as ceil(256 * 176 / 243) = 186.
TEST_P(GgmlBlocksTest, PacksFiveTritsIntoOneByte) {
  std::vector<float> x(256, 0.0f);
  const float trits[] = {1, -1, 0, 0, 1};
  for (int t = 0; t < 5; ++t) x[32 * t] = trits[t];
  const auto blocks =
      Encode(GgmlType::kTQ1_0, x, {}, SearchLevel::kDefault, 256);
  EXPECT_EQ(blocks[0], 186);
  EXPECT_EQ(Decode(GgmlType::kTQ1_0, blocks), x);
}

TEST_P(GgmlBlocksTest, AnyBytesDecodeLikeTheTwin) {
  std::mt19937 random(5);
  for (const GgmlType type : TwinTypes()) {
    const GgmlTypeInfo& info = InfoOf(type);
    std::vector<uint8_t> blocks(64 * info.block_bytes);
    for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(random());
    // Scales of every kind: all ones, all zeros, infinities, subnormals.
    std::fill_n(blocks.begin(), info.block_bytes, 0xFF);
    std::fill_n(blocks.begin() + info.block_bytes, info.block_bytes, 0);
    blocks[2 * info.block_bytes] = 0;
    blocks[2 * info.block_bytes + 1] = 0x7C;
    blocks[3 * info.block_bytes] = 1;
    blocks[3 * info.block_bytes + 1] = 0;
    const std::vector<float> out = Decode(type, blocks);
    for (size_t i = 0; i < out.size(); ++i) {
      const int64_t block = static_cast<int64_t>(i) / info.block_elems;
      const float twin =
          TwinValue(type, blocks.data() + block * info.block_bytes,
                    static_cast<int>(i) % info.block_elems);
      if (std::isnan(twin)) {
        ASSERT_TRUE(std::isnan(out[i])) << info.name << " at " << i;
      } else {
        ASSERT_EQ(out[i], twin) << info.name << " at " << i;
      }
    }
  }
}

// Every code is (one of) the nearest to its weight among those that the stored
// scales allow.
void ExpectNearestCodes(GgmlType type, const std::vector<float>& x,
                        const std::vector<uint8_t>& blocks) {
  const GgmlTypeInfo& info = InfoOf(type);
  std::vector<float> grid;
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t block = static_cast<int64_t>(i) / info.block_elems;
    const uint8_t* bytes = blocks.data() + block * info.block_bytes;
    const int e = static_cast<int>(i) % info.block_elems;
    // No type has more than one scale per 32 elements.
    if (e % 32 == 0) grid = TwinGrid(type, bytes, e);
    const double miss = std::abs(x[i] - double{TwinValue(type, bytes, e)});
    double least = std::numeric_limits<double>::infinity();
    for (const float value : grid) {
      least = std::min(least, std::abs(x[i] - double{value}));
    }
    // Ties to within rounding of the quotient.
    ASSERT_LE(miss, least + 1e-6 * std::abs(x[i]))
        << info.name << " at " << i << ": " << x[i] << " became "
        << TwinValue(type, bytes, e);
  }
}

TEST_P(GgmlBlocksTest, CodesAreTheNearestForTheStoredScales) {
  const std::vector<float> importance = GoldenImportance();
  for (const GgmlType type : TwinTypes()) {
    for (const SearchLevel search : kLevels) {
      std::vector<float> x = Normal(6 * kGoldenCols, 0.3f, 11);
      for (size_t i = 0; i < x.size(); i += 97) x[i] *= 20;
      for (size_t i = 2 * kGoldenCols; i < 4 * kGoldenCols; ++i) x[i] *= 1e-7f;
      for (size_t i = 4 * kGoldenCols; i < 5 * kGoldenCols; ++i) x[i] += 7;
      for (const auto& w : {std::vector<float>(), importance}) {
        ASSERT_NO_FATAL_FAILURE(ExpectNearestCodes(
            type, x, Encode(type, x, w, search, kGoldenCols)));
      }
    }
  }
}

// Rows of every length, with blocks that differ by orders of magnitude.
std::vector<float> MixedRow(int64_t n) {
  std::vector<float> x = Normal(n, 1.0f, static_cast<uint32_t>(n));
  for (int64_t i = 0; i < n; ++i) x[i] *= std::ldexp(1.0f, (i / 32) % 40 - 30);
  return x;
}

TEST_P(GgmlBlocksTest, GivesTheSameBytesOnEveryTarget) {
  for (const GgmlType type : TwinTypes()) {
    const int64_t elems = InfoOf(type).block_elems;
    for (const int64_t blocks : {1, 2, 7, 16, 17, 35}) {
      const std::vector<float> x = MixedRow(blocks * elems);
      std::vector<float> w = Normal(blocks * elems, 2.0f, 9);
      for (float& v : w) v = std::max(v, 0.0f);
      for (const SearchLevel search : kLevels) {
        for (const auto& importance : {std::vector<float>(), w}) {
          ForceKernelTarget(GetParam());
          const auto bytes =
              Encode(type, x, importance, search, blocks * elems);
          ForceKernelTarget(KernelTargets().front());
          ASSERT_EQ(bytes, Encode(type, x, importance, search, blocks * elems))
              << InfoOf(type).name << " " << blocks;
        }
      }
    }
  }
}

TEST_P(GgmlBlocksTest, PartsOfARowGiveTheBytesOfTheWhole) {
  for (const GgmlType type : TwinTypes()) {
    const GgmlTypeInfo& info = InfoOf(type);
    const int64_t blocks = 37;
    const std::vector<float> x = MixedRow(blocks * info.block_elems);
    std::vector<float> w = Normal(blocks * info.block_elems, 2.0f, 9);
    for (float& v : w) v = std::abs(v);
    for (const SearchLevel search : kLevels) {
      const auto whole = Encode(type, x, w, search, blocks * info.block_elems);
      std::vector<uint8_t> parts(whole.size());
      for (int64_t begin = 0, take = 1; begin < blocks; ++take) {
        const int64_t count = std::min(take, blocks - begin);
        GgmlKernelsOf(type).encode(x.data() + begin * info.block_elems,
                                   count * info.block_elems,
                                   w.data() + begin * info.block_elems, search,
                                   parts.data() + begin * info.block_bytes);
        begin += count;
      }
      ASSERT_EQ(parts, whole) << info.name;
    }
  }
}

// Blocks of 256 with everything that may upset a scale.
std::vector<std::vector<float>> UpsettingBlocks() {
  constexpr float kMax = std::numeric_limits<float>::max();
  constexpr float kDenorm = std::numeric_limits<float>::denorm_min();
  std::vector<std::vector<float>> blocks;
  for (const float v : {0.0f, -0.0f, kMax, -kMax, kDenorm, 1.0f, -3e-8f, 6e-8f,
                        65504.0f, 1e6f, 1e9f, 1e12f, 1e-10f, 1e-38f, 0.1f}) {
    blocks.emplace_back(256, v);  // constant
    blocks.emplace_back(256, 0.0f);
    blocks.back()[77] = v;  // one outlier
    blocks.push_back(Normal(256, 1.0f, 3));
    blocks.back()[5] = v;
    blocks.push_back(Normal(256, 1.0f, 4));
    for (float& x : blocks.back()) {  // all of one magnitude, both signs
      x = std::isfinite(x * v) ? x * v : std::copysign(v, x);
    }
  }
  blocks.push_back(Normal(256, 1.0f, 5));
  for (float& x : blocks.back()) x = std::abs(x) + 100;  // all positive
  blocks.push_back(Normal(256, 1.0f, 6));
  for (size_t i = 0; i < 256; ++i) blocks.back()[i] = i % 2 != 0 ? kMax : -kMax;
  return blocks;
}

std::vector<std::vector<float>> UpsettingImportances() {
  std::vector<std::vector<float>> all = {{}};
  for (const float v : {0.0f, 1e-38f, 1e38f, 1e-45f}) all.emplace_back(256, v);
  all.emplace_back(256, 0.0f);
  for (size_t i = 0; i < 256; i += 3) all.back()[i] = 1e-30f;
  all.emplace_back(256, 0.0f);
  all.back()[5] = 1;
  return all;
}

TEST_P(GgmlBlocksTest, ScalesAreFiniteForAnyFiniteWeights) {
  for (const GgmlType type : TwinTypes()) {
    const GgmlTypeInfo& info = InfoOf(type);
    for (const std::vector<float>& x : UpsettingBlocks()) {
      for (const std::vector<float>& w : UpsettingImportances()) {
        for (const SearchLevel search : kLevels) {
          const auto blocks = Encode(type, x, w, search, 256);
          for (size_t at = 0; at < blocks.size(); at += info.block_bytes) {
            ASSERT_TRUE(TwinScalesAreFinite(type, blocks.data() + at))
                << info.name << " " << x[0] << " " << x[5];
          }
          ASSERT_NO_FATAL_FAILURE(ExpectNearestCodes(type, x, blocks));
        }
      }
    }
  }
}

TEST_P(GgmlBlocksTest, ZerosStayZeros) {
  for (const GgmlType type : TwinTypes()) {
    for (const SearchLevel search : kLevels) {
      const std::vector<float> zeros(512, 0.0f);
      EXPECT_EQ(Decode(type, Encode(type, zeros, {}, search, 512)), zeros)
          << InfoOf(type).name;
    }
  }
}

// Values that f16 scales can't reach become the largest that they can.
TEST_P(GgmlBlocksTest, HugeWeightsSaturate) {
  const std::vector<float> x(256, 3e38f);
  for (const auto& [type, largest] : std::vector<std::pair<GgmlType, float>>{
           {GgmlType::kQ4_0, 65504.0f * 8},
           {GgmlType::kQ5_0, 65504.0f * 16},
           {GgmlType::kQ8_0, 65504.0f * 127},
           {GgmlType::kIQ4_NL, 65504.0f * 127},
           {GgmlType::kTQ2_0, 65504.0f}}) {
    for (const SearchLevel search : kLevels) {
      const auto out = Decode(type, Encode(type, x, {}, search, 256));
      EXPECT_EQ(out, std::vector<float>(256, largest)) << InfoOf(type).name;
    }
  }
}

// A block of the smallest steps of f16 is kept, though peak / 8 rounds to zero.
TEST_P(GgmlBlocksTest, SmallestStepsSurvive) {
  const float step = 0x1p-24f;
  for (const GgmlType type : {GgmlType::kQ4_0, GgmlType::kQ5_0, GgmlType::kQ8_0,
                              GgmlType::kTQ1_0, GgmlType::kTQ2_0}) {
    std::vector<float> x(256, step);
    EXPECT_EQ(Decode(type, Encode(type, x, {}, SearchLevel::kDefault, 256)), x)
        << InfoOf(type).name;
  }
}

TEST_P(GgmlBlocksTest, TernaryWeightsAreExact) {
  std::mt19937 random(8);
  for (const GgmlType type : {GgmlType::kTQ1_0, GgmlType::kTQ2_0}) {
    for (const float d : {0.0421f, 1.0f, 65504.0f}) {
      for (const unsigned zeros : {1u, 3u, 30u}) {
        std::vector<float> x(2048);
        for (float& v : x) {
          v = random() % (zeros + 1) == 0 ? (random() % 2 != 0 ? d : -d) : 0;
        }
        for (const SearchLevel search : kLevels) {
          const auto out = Decode(type, Encode(type, x, {}, search, 2048));
          for (size_t i = 0; i < x.size(); ++i) {
            ASSERT_NEAR(out[i], x[i], d / 2048) << InfoOf(type).name << i;
          }
        }
      }
    }
  }
}

QUANT_FOR_EACH_TARGET(GgmlBlocksTest);

struct ReferenceErrors {
  GgmlType type;
  // relRMSE without importance by the closed formulas ("none"), by the search
  // with equal weights ("unit"), and weighted with importances ("weighted").
  double none[2], unit[2], weighted[2];
};

// What the reference quantizers reach on both sets.
constexpr ReferenceErrors kReference[] = {
    {GgmlType::kQ4_0,
     {.085036, .117629},
     {.080581, .114838},
     {.077607, .112246}},
    {GgmlType::kQ4_1,
     {.077670, .088578},
     {.069411, .079759},
     {.065001, .076366}},
    {GgmlType::kQ5_0,
     {.042225, .058566},
     {.039994, .057180},
     {.038651, .056327}},
    {GgmlType::kQ5_1,
     {.037652, .042817},
     {.033602, .038680},
     {.031614, .036908}},
    {GgmlType::kQ8_0,
     {.005291, .007428},
     {.005291, .007428},
     {.005314, .007459}},
    {GgmlType::kIQ4_NL,
     {.075491, .093242},
     {.074466, .091911},
     {.071428, .089253}},
    {GgmlType::kIQ4_XS,
     {.076060, .094805},
     {.075141, .093822},
     {.072104, .091396}},
    {GgmlType::kMXFP4,
     {.113082, .135565},
     {.113082, .135565},
     {.112827, .135525}},
    {GgmlType::kTQ1_0, {.793540, .820454}, {.793540, .820454}, {1, 1}},
    {GgmlType::kTQ2_0, {.793540, .820454}, {.793540, .820454}, {1, 1}},
};

// The least error that any scales reach without importances, found by brute
// force, times 1.003: how near the search must come.
struct Floor {
  GgmlType type;
  double unit[2];
};
constexpr Floor kFloors[] = {
    {GgmlType::kQ4_0, {.080136, .113492}},
    {GgmlType::kIQ4_NL, {.072982, .090644}},
    {GgmlType::kMXFP4, {.111229, .132890}},
    // 1.01 times what was found for it, as it has two parameters.
    {GgmlType::kQ4_1, {.068791, .078919}},
};

double ErrorOf(GgmlType type, int set, SearchLevel search,
               const std::vector<float>& importance) {
  const std::vector<float> x = GoldenWeights(set);
  const auto blocks = Encode(type, x, importance, search, kGoldenCols);
  return RelativeRmse(x, Decode(type, blocks), importance);
}

TEST(GoldenSet, IsTheOneThatTheReferenceWasMeasuredOn) {
  EXPECT_EQ(Crc32(GoldenWeights(1)), 0x6febda69u);
  EXPECT_EQ(Crc32(GoldenWeights(2)), 0x14114f8fu);
  EXPECT_FLOAT_EQ(GoldenImportance()[0], 1.20431888f);
  EXPECT_FLOAT_EQ(GoldenImportance()[1], 2.33247089f);
}

TEST(GgmlSearch, FastIsNoWorseThanTheReferencesFormulas) {
  for (const ReferenceErrors& reference : kReference) {
    for (const int set : {1, 2}) {
      // Six digits were printed.
      EXPECT_LE(ErrorOf(reference.type, set, SearchLevel::kFast, {}),
                reference.none[set - 1] + 5e-7)
          << InfoOf(reference.type).name << " set " << set;
    }
  }
}

TEST(GgmlSearch, DefaultIsBetterThanTheReferencesSearch) {
  const std::vector<float> importance = GoldenImportance();
  for (const ReferenceErrors& reference : kReference) {
    for (const int set : {1, 2}) {
      EXPECT_LT(ErrorOf(reference.type, set, SearchLevel::kDefault, {}),
                reference.unit[set - 1])
          << InfoOf(reference.type).name << " set " << set;
      EXPECT_LT(ErrorOf(reference.type, set, SearchLevel::kDefault, importance),
                reference.weighted[set - 1])
          << InfoOf(reference.type).name << " set " << set;
    }
  }
}

TEST(GgmlSearch, DefaultComesNearTheBestScales) {
  for (const Floor& floor : kFloors) {
    for (const int set : {1, 2}) {
      EXPECT_LE(ErrorOf(floor.type, set, SearchLevel::kDefault, {}),
                floor.unit[set - 1])
          << InfoOf(floor.type).name << " set " << set;
    }
  }
}

// What matters gets the better codes: the weighted error is lower with
// importances than without.
TEST(GgmlSearch, ImportanceLowersTheWeightedError) {
  const std::vector<float> importance = GoldenImportance();
  const std::vector<float> x = GoldenWeights(1);
  for (const GgmlType type : TwinTypes()) {
    if (type == GgmlType::kQ8_0) continue;  // has no search
    const auto plain = Encode(type, x, {}, SearchLevel::kDefault, kGoldenCols);
    EXPECT_LT(ErrorOf(type, 1, SearchLevel::kDefault, importance),
              RelativeRmse(x, Decode(type, plain), importance))
        << InfoOf(type).name;
  }
}

}  // namespace
}  // namespace quant

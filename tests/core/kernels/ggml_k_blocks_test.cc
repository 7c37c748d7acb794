// The K-quant block types: what they decode to, how good their scales are, and
// that neither depends on the CPU.
#include "core/kernels/ggml_k_blocks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "core/kernels/ggml_blocks.h"
#include "tests/core/kernels/ggml_k_twins.h"
#include "tests/core/kernels/golden_set.h"
#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

using GgmlKBlocksTest = TargetTest;

constexpr GgmlType kTypes[] = {GgmlType::kQ2_K, GgmlType::kQ3_K,
                               GgmlType::kQ4_K, GgmlType::kQ5_K,
                               GgmlType::kQ6_K};
constexpr SearchLevel kLevels[] = {SearchLevel::kFast, SearchLevel::kDefault};

// The same importance for every row; empty for none.
std::vector<uint8_t> Encode(GgmlType type, const std::vector<float>& x,
                            const std::vector<float>& importance,
                            SearchLevel search, int64_t cols) {
  const int64_t row_bytes = cols / kKElems * InfoOf(type).block_bytes;
  const int64_t rows = static_cast<int64_t>(x.size()) / cols;
  std::vector<uint8_t> blocks(rows * row_bytes + 1, 77);
  for (int64_t row = 0; row < rows; ++row) {
    GgmlKernelsOf(type).encode(x.data() + row * cols, cols,
                               importance.empty() ? nullptr : importance.data(),
                               search, blocks.data() + row * row_bytes);
  }
  EXPECT_EQ(blocks.back(), 77) << InfoOf(type).name << " wrote past the end";
  blocks.pop_back();
  return blocks;
}

std::vector<float> Decode(GgmlType type, const std::vector<uint8_t>& blocks) {
  const int64_t n =
      static_cast<int64_t>(blocks.size()) / InfoOf(type).block_bytes * kKElems;
  std::vector<float> out(n + 1, 42.0f);
  GgmlKernelsOf(type).decode(blocks.data(), n, out.data());
  EXPECT_EQ(out.back(), 42.0f) << InfoOf(type).name << " wrote past the end";
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
  std::vector<float> values;  // at 0, 1, 2, 3, 17, 33, 100, 128, 200, 255
};

// Written by the reference quantizers: the first blocks of set 1.
const std::vector<DecodedBlock>& ReferenceBlocks() {
  static const auto* blocks = new std::vector<DecodedBlock>{
      {GgmlType::kQ2_K,
       "ba9937878adc674588ef548868f9998611e379a6468a93067696929a750d140d969a"
       "5e2e96a5969dad5a0ed2e718ea260a51d9adc963bf5dae6a5a4aa948d18da1a5b855"
       "aab9f92df961f6ad29b66b4a6219251c",
       {-.01823807f, .03432846f, -.01823807f, .008045197f, .01088333f,
        -.01214218f, -.005886078f, .009674072f, .01776886f, -.01660919f}},
      {GgmlType::kQ3_K,
       "625bf8bbff0daf77a12d6fedb974d6f49092fa1ef1f5f033f71bcab074eb262d77e7"
       "0a7131284bb1dc9d45491ca250a2efe76ecf68cefffa5e64ca7308a347a873958129"
       "f5b448ca7fe3c323b5f3c126303d4add0815c12982b18e3d0012b4cbf60fbc1ff8b7"
       "62f403ccecb65d10",
       {-.0117178f, .03515339f, -.02343559f, .0117178f, .009054661f,
        -.01065254f, 0.0f, .009054661f, .009054661f, -.007989407f}},
      {GgmlType::kQ4_K,
       "0808c013efaaf49fb1a1f49fdf74f566563d956b6bb82e7a99793bba87e460e34a89"
       "abba38455995a5889b0a3e63893819fc8faa7294a8325ed6b8977e24062393945538"
       "c4a89595c96530d6e854d74b874584b5945abab4c7979787948234a30562b074c6a3"
       "94d3921469e39589aec80548d98cf53baf59ab5b6976cb65f98777779a63798bd906"
       "b947ba76197b5860",
       {-.01166344f, .02881145f, -.01744556f, .0172472f, .005682945f,
        -.01571846f, -.002631187f, .01168156f, .01212215f, -.007900238f}},
      {GgmlType::kQ5_K,
       "a503c813f1acf9a2b1a3f5a0bf74f968244deeeda15bfd61e76b6dabe622c0a2098b"
       "e30769ece92aee03d3296d707b35bd8c5ad6e6805ef5430387862fe9e0f7a5136885"
       "729ab45c6b1147067ed6248132f81f55f5285063acad703ffd680d573728ba719950"
       "3b2b93d970bdd1a9bf873faa298a48a57687af3e4f2f482468670bd590f8ad6649d5"
       "4329d3f63a147fa00b80c41afb666fb357b7c30da6daf31efe0e25c7f207b31c849e"
       "64fc22f7a0c0",
       {-.01111883f, .02975535f, -.01929367f, .01340568f, .005230844f,
        -.01366997f, -.00203383f, .01170856f, .01306504f, -.009401321f}},
      {GgmlType::kQ6_K,
       "c9f4145a7a1ef8a76364fc395c01613ee70c4f163e01696e613f0194303bf8d164fb"
       "2391ef4db0cd454bdb6ed9b10f9096b7c357b1569bb1b488605011ef5a324775e9f5"
       "4b72100d675807047a76face807b33c6ed8a054b1d851459e373b10800f9702fd5ca"
       "bc7f945173fe349ee118e1f74c8bddf66312f325d8e641ed478d19cb859a76b19f36"
       "46e69aa24531243045599ced1567555e2f99cd11249719e63922da8afa10886a9d59"
       "6975da77d2aa5256ab46596aea1eaa52a55e1a65584957c1b23da75d37d2bd802e46"
       "b86e42411f01",
       {-.01041788f, .02976537f, -.01785922f, .01488268f, .004310846f,
        -.01467741f, -.001881719f, .01031524f, .0123167f, -.008895397f}}};
  return *blocks;
}

TEST_P(GgmlKBlocksTest, DecodesTheReferencesBlocks) {
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

TEST_P(GgmlKBlocksTest, AnyBytesDecodeLikeTheTwin) {
  std::mt19937 random(5);
  for (const GgmlType type : kTypes) {
    const int bytes = InfoOf(type).block_bytes;
    std::vector<uint8_t> blocks(64 * bytes);
    for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(random());
    std::fill_n(blocks.begin(), bytes, 0xFF);  // scales are NaN
    std::fill_n(blocks.begin() + bytes, bytes, 0);
    const std::vector<float> out = Decode(type, blocks);
    for (int i = 0; i < 64 * kKElems; ++i) {
      const float twin =
          KTwinValue(type, blocks.data() + i / kKElems * bytes, i % kKElems);
      if (std::isnan(twin)) {
        ASSERT_TRUE(std::isnan(out[i])) << InfoOf(type).name << " at " << i;
      } else {
        ASSERT_EQ(out[i], twin) << InfoOf(type).name << " at " << i;
      }
    }
  }
}

struct Packing {
  void (*pack)(const KBlock&, uint8_t*);
  void (*unpack)(const uint8_t*, KBlock&);
  int bytes;
};

// Every bit of a block belongs to exactly one field: unpacking random bytes and
// packing them again gives the bytes.
TEST(GgmlKBlocks, PackingInvertsUnpacking) {
  std::mt19937 random(6);
  for (const Packing& p : {Packing{PackQ2K, UnpackQ2K, kQ2KBytes},
                           Packing{PackQ3K, UnpackQ3K, kQ3KBytes},
                           Packing{PackQ4K, UnpackQ4K, kQ4KBytes},
                           Packing{PackQ5K, UnpackQ5K, kQ5KBytes},
                           Packing{PackQ6K, UnpackQ6K, kQ6KBytes}}) {
    for (int trial = 0; trial < 100; ++trial) {
      std::vector<uint8_t> bytes(p.bytes), again(p.bytes);
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
      KBlock block;
      p.unpack(bytes.data(), block);
      p.pack(block, again.data());
      ASSERT_EQ(bytes, again) << p.bytes;
    }
  }
}

// Of the reference quantizers: without importance at its default, with equal
// importance, and with GoldenImportance (errors weighted by it).
struct ReferenceErrors {
  GgmlType type;
  int set;
  double none, unit, importance;
};

constexpr ReferenceErrors kReferenceErrors[] = {
    {GgmlType::kQ2_K, 1, .295895, .266327, .240595},
    {GgmlType::kQ2_K, 2, .323859, .285280, .268507},
    {GgmlType::kQ3_K, 1, .149644, .143251, .135766},
    {GgmlType::kQ3_K, 2, .177309, .172557, .166687},
    {GgmlType::kQ4_K, 1, .070846, .070303, .065982},
    {GgmlType::kQ4_K, 2, .082127, .081537, .078845},
    {GgmlType::kQ5_K, 1, .035974, .035206, .033639},
    {GgmlType::kQ5_K, 2, .041635, .041065, .039983},
    {GgmlType::kQ6_K, 1, .017735, .017304, .016481},
    {GgmlType::kQ6_K, 2, .022721, .022372, .021544},
};

TEST(GgmlKBlocks, GoldenSetsAreTheOnesThatWereMeasured) {
  EXPECT_EQ(Crc32(GoldenWeights(1)), 0x6febda69u);
  EXPECT_EQ(Crc32(GoldenWeights(2)), 0x14114f8fu);
  EXPECT_FLOAT_EQ(GoldenImportance()[0], 1.20431888f);
  EXPECT_FLOAT_EQ(GoldenImportance()[1], 2.33247089f);
}

double ErrorOf(GgmlType type, int set, const std::vector<float>& importance,
               SearchLevel search) {
  const std::vector<float> x = GoldenWeights(set);
  const std::vector<uint8_t> blocks =
      Encode(type, x, importance, search, kGoldenCols);
  return RelativeRmse(x, Decode(type, blocks), importance);
}

TEST(GgmlKBlocks, ErrorsAreBelowTheReferences) {
  for (const ReferenceErrors& reference : kReferenceErrors) {
    SCOPED_TRACE(InfoOf(reference.type).name);
    const double plain =
        ErrorOf(reference.type, reference.set, {}, SearchLevel::kDefault);
    EXPECT_LT(plain, reference.unit);
    const double weighted = ErrorOf(reference.type, reference.set,
                                    GoldenImportance(), SearchLevel::kDefault);
    EXPECT_LT(weighted, reference.importance);
    const double fast =
        ErrorOf(reference.type, reference.set, {}, SearchLevel::kFast);
    EXPECT_LT(fast, reference.none);
    const double fast_weighted = ErrorOf(
        reference.type, reference.set, GoldenImportance(), SearchLevel::kFast);
    EXPECT_LT(fast_weighted, reference.importance);
    // The longer search is the better one.
    EXPECT_LT(plain, fast);
    EXPECT_LT(weighted, fast_weighted);
  }
}

// Rows that no model has, and some that it may have.
std::vector<std::vector<float>> StrangeRows() {
  constexpr float kMax = std::numeric_limits<float>::max();
  constexpr float kDenorm = std::numeric_limits<float>::denorm_min();
  const std::vector<float> normal = Normal(3 * kKElems, 1.0f, 3);
  std::vector<std::vector<float>> rows;
  for (const float factor :
       {kMax / 8, 1e30f, 1e9f, 70000.0f, 1.0f, 1e-3f, 1e-5f, 1e-6f, 1e-7f,
        2e-8f, 1e-9f, 1e-30f, 1e-38f, 16 * kDenorm}) {
    std::vector<float> row = normal;
    for (float& v : row) v *= factor;
    rows.push_back(row);
    for (float& v : row) v = std::fabs(v);  // no mins below zero
    rows.push_back(row);
    for (float& v : row) v = -v;
    rows.push_back(row);
    rows.emplace_back(kKElems, factor);  // constant
    rows.emplace_back(kKElems, -factor);
    row.assign(kKElems, 0.0f);
    row[77] = factor;  // alone
    rows.push_back(row);
    row[78] = -factor / 1e6f;
    rows.push_back(row);
  }
  std::vector<float> row = normal;
  row[300] = 1e5f;
  row[301] = -3e38f;
  rows.push_back(row);
  rows.push_back({});
  for (int i = 0; i < kKElems; ++i) rows.back().push_back(i % 2 ? kMax : -kMax);
  return rows;
}

std::vector<std::vector<float>> StrangeImportances() {
  std::vector<float> some = Normal(3 * kKElems, 1.0f, 4);
  for (float& w : some) w = w < 0 ? 0.0f : w * w;
  std::vector<float> one(3 * kKElems, 0.0f);
  one[300] = 1e-20f;
  std::vector<float> wide = some;
  for (size_t i = 0; i < wide.size(); i += 5) wide[i] *= 1e30f;
  return {{},
          some,
          one,
          wide,
          std::vector<float>(3 * kKElems, 0.0f),
          std::vector<float>(3 * kKElems, 1e-40f),
          std::vector<float>(3 * kKElems, 3e38f)};
}

// Every value is what the scales make of a code, and finite; where no weights
// say otherwise, zeros would not have been better.
TEST_P(GgmlKBlocksTest, StrangeRowsStayFinite) {
  for (const GgmlType type : kTypes) {
    for (const std::vector<float>& x : StrangeRows()) {
      for (const std::vector<float>& importance : StrangeImportances()) {
        for (const SearchLevel level : kLevels) {
          const std::vector<float> y =
              Decode(type, Encode(type, x, importance, level,
                                  static_cast<int64_t>(x.size())));
          double noise = 0, signal = 0;
          for (size_t i = 0; i < x.size(); ++i) {
            ASSERT_TRUE(std::isfinite(y[i]))
                << InfoOf(type).name << " " << x[i];
            noise += std::pow(static_cast<double>(x[i]) - y[i], 2);
            signal += std::pow(static_cast<double>(x[i]), 2);
          }
          if (!importance.empty()) continue;
          ASSERT_LE(noise, signal * (1 + 1e-6))
              << InfoOf(type).name << " of " << x[0] << " " << x[77];
        }
      }
    }
  }
}

// Magnitudes where F16 scales have all their bits: the error is what the codes
// allow.
TEST_P(GgmlKBlocksTest, ErrorDoesNotDependOnTheMagnitude) {
  for (const GgmlType type : kTypes) {
    std::vector<float> x = Normal(4 * kKElems, 1.0f, 9);
    const double base = RelativeRmse(
        x, Decode(type, Encode(type, x, {}, SearchLevel::kDefault, 1024)), {});
    for (const float factor : {0x1p-3f, 0x1p5f, 0x1p12f}) {
      std::vector<float> scaled = x;
      for (float& v : scaled) v *= factor;
      const double error = RelativeRmse(
          scaled,
          Decode(type, Encode(type, scaled, {}, SearchLevel::kDefault, 1024)),
          {});
      EXPECT_NEAR(error, base, 0.02 * base)
          << InfoOf(type).name << " times " << factor;
    }
  }
}

TEST_P(GgmlKBlocksTest, ZerosAreZeroBytes) {
  std::vector<float> x(3 * kKElems, 0.0f);
  x[5] = -0.0f;
  x[300] = 1e-20f;  // rounds to zero at any F16 scale
  for (const GgmlType type : kTypes) {
    for (const SearchLevel level : kLevels) {
      const std::vector<uint8_t> blocks = Encode(type, x, {}, level, 768);
      EXPECT_EQ(blocks, std::vector<uint8_t>(blocks.size(), 0));
      for (const float y : Decode(type, blocks)) ASSERT_EQ(y, 0.0f);
    }
  }
}

TEST_P(GgmlKBlocksTest, EqualWeightsAreNoWeights) {
  const std::vector<float> x = Normal(3 * kKElems, 0.02f, 8);
  for (const GgmlType type : kTypes) {
    for (const SearchLevel level : kLevels) {
      const std::vector<uint8_t> plain = Encode(type, x, {}, level, 768);
      for (const float w : {0.0f, 1.0f, 0.25f, 0x1p127f, 0x1p-130f}) {
        EXPECT_EQ(plain,
                  Encode(type, x, std::vector<float>(768, w), level, 768))
            << InfoOf(type).name << " weighted " << w;
      }
    }
  }
}

// A column without weight does not sway the others, and is still encoded.
TEST_P(GgmlKBlocksTest, WeightsChooseWhereErrorsLie) {
  const std::vector<float> x = Normal(4 * kKElems, 0.02f, 10);
  std::vector<float> importance(x.size());
  for (size_t i = 0; i < x.size(); ++i) importance[i] = i % 2 ? 1.0f : 0.0f;
  for (const GgmlType type : kTypes) {
    for (const SearchLevel level : kLevels) {
      const auto error = [&](const std::vector<float>& w) {
        return RelativeRmse(x, Decode(type, Encode(type, x, w, level, 1024)),
                            importance);
      };
      EXPECT_LT(error(importance), 0.97 * error({})) << InfoOf(type).name;
    }
  }
}

TEST_P(GgmlKBlocksTest, BlocksAreIndependent) {
  const int64_t blocks = 7;
  const std::vector<float> x = Normal(blocks * kKElems, 0.02f, 11);
  std::vector<float> importance = Normal(blocks * kKElems, 1.0f, 12);
  for (float& w : importance) w *= w;
  for (const GgmlType type : kTypes) {
    const int bytes = InfoOf(type).block_bytes;
    for (const SearchLevel level : kLevels) {
      const std::vector<uint8_t> whole =
          Encode(type, x, importance, level, blocks * kKElems);
      for (const int64_t part : {1, 2, 3}) {
        std::vector<uint8_t> parts(whole.size());
        for (int64_t b = 0; b < blocks; b += part) {
          GgmlKernelsOf(type).encode(
              x.data() + b * kKElems, std::min(part, blocks - b) * kKElems,
              importance.data() + b * kKElems, level, parts.data() + b * bytes);
        }
        EXPECT_EQ(whole, parts) << InfoOf(type).name << " by " << part;
      }
    }
  }
}

TEST_P(GgmlKBlocksTest, EveryTargetWritesTheSameBytes) {
  std::vector<std::vector<float>> rows = StrangeRows();
  for (const int set : {1, 2}) {
    const std::vector<float> weights = GoldenWeights(set);
    // Three blocks: an odd number, and as many as there are importances.
    for (int i = 0; i < 12; ++i) {
      rows.emplace_back(weights.begin() + 768 * i,
                        weights.begin() + 768 * (i + 1));
    }
  }
  for (const GgmlType type : kTypes) {
    for (const std::vector<float>& x : rows) {
      for (const std::vector<float>& importance : StrangeImportances()) {
        for (const SearchLevel level : kLevels) {
          const int64_t cols = static_cast<int64_t>(x.size());
          ForceKernelTarget("");
          const auto best = Encode(type, x, importance, level, cols);
          const auto best_values = Decode(type, best);
          ForceKernelTarget(GetParam());
          ASSERT_EQ(Encode(type, x, importance, level, cols), best)
              << InfoOf(type).name << " " << x[0];
          ASSERT_EQ(Decode(type, best), best_values) << InfoOf(type).name;
        }
      }
    }
  }
}

QUANT_FOR_EACH_TARGET(GgmlKBlocksTest);

}  // namespace
}  // namespace quant

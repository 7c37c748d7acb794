// Words worked out by hand from the rules of GPTQ's, AutoAWQ's, bitsandbytes'
// and compressed-tensors' files.
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "core/artifact/format.h"
#include "core/base/error.h"

namespace quant {
namespace {

// One tile that is the whole weight, packed.
struct Packed {
  std::unique_ptr<Codec> codec;
  TensorEntry source;
  PackedTile tile;
  std::vector<OutputTensor> outputs;

  Packed(const std::string& format_name, const Scheme& scheme,
         const CodeTile& codes) {
    const ArtifactFormat& format = **FindFormat(format_name);
    codec = *MakeCodec(scheme);
    source = {.name = "m.weight",
              .dtype = DType::kBF16,
              .shape = {codes.rows, codes.cols}};
    outputs = format.Outputs(*codec, source);
    tile.ranges = format.TileRanges(*codec, source, 0, codes.rows);
    format.Pack(*codec, source, codes, tile);
  }

  std::vector<uint8_t> Bytes(const std::string& name) const {
    for (size_t o = 0; o < outputs.size(); ++o) {
      if (outputs[o].name != name) continue;
      std::vector<uint8_t> bytes(outputs[o].bytes);
      for (size_t i = 0; i < tile.ranges.size(); ++i) {
        if (tile.ranges[i].output != static_cast<int>(o)) continue;
        std::copy(tile.data[i].begin(), tile.data[i].end(),
                  bytes.begin() + tile.ranges[i].offset);
      }
      return bytes;
    }
    ADD_FAILURE() << "no " << name;
    return {};
  }

  template <class T>
  std::vector<T> As(const std::string& name) const {
    const std::vector<uint8_t> bytes = Bytes(name);
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
    return values;
  }
};

Scheme Int(int bits, bool symmetric = true) {
  Scheme scheme = *FindScheme("W4A16");
  scheme.bits = bits;
  scheme.symmetric = symmetric;
  scheme.group_size = 32;
  return scheme;
}

// 32 x 32; code of output r, input c: (by_output ? r : c) mod 8, unsigned.
CodeTile Ramp(int bits, bool by_output) {
  CodeTile tile{.rows = 32, .cols = 32};
  for (int r = 0; r < 32; ++r) {
    for (int c = 0; c < 32; ++c) {
      const int u = (by_output ? r : c) % 8;
      tile.codes.push_back(static_cast<uint8_t>(u - (1 << (bits - 1))));
    }
  }
  tile.scales.assign(32, 1.0f);
  return tile;
}

TEST(GptqFormat, PacksAlongTheInputs) {
  const Packed packed("gptq", Int(4), Ramp(4, false));
  const auto words = packed.As<uint32_t>("m.qweight");
  ASSERT_EQ(words.size(), 4u * 32);
  for (uint32_t word : words) EXPECT_EQ(word, 0x76543210u);
}

TEST(GptqFormat, ThreeBitsAreOneDenseStream) {
  CodeTile tile = Ramp(3, false);
  for (uint8_t& code : tile.codes) code = static_cast<uint8_t>(-4);  // u = 0
  // Inputs 10 and 21 of every output lie across words.
  for (int r = 0; r < 32; ++r) {
    tile.codes[r * 32 + 10] = 3;  // u = 7
    tile.codes[r * 32 + 21] = 1;  // u = 5
  }
  const Packed packed("gptq", Int(3), tile);
  const auto words = packed.As<uint32_t>("m.qweight");
  ASSERT_EQ(words.size(), 3u * 32);
  for (int r = 0; r < 32; ++r) {
    EXPECT_EQ(words[r], 0xC0000000u);
    EXPECT_EQ(words[32 + r], 0x80000001u);
    EXPECT_EQ(words[64 + r], 0x00000002u);
  }
}

TEST(GptqFormat, ZeroWordsOfBothVersions) {
  struct Case {
    const char* format;
    int bits;
    uint32_t word;
  };
  for (const Case& c : {Case{"gptq", 4, 0x77777777},
                        {"gptq", 8, 0x7F7F7F7F},
                        {"gptq", 2, 0x55555555},
                        {"gptq_v2", 4, 0x88888888},
                        {"gptq_v2", 8, 0x80808080},
                        {"gptq_v2", 2, 0xAAAAAAAA}}) {
    CodeTile tile{.rows = 32, .cols = 32};
    tile.codes.assign(32 * 32, 0);
    tile.scales.assign(32, 1.0f);
    const Packed packed(c.format, Int(c.bits), tile);
    for (uint32_t word : packed.As<uint32_t>("m.qzeros")) {
      EXPECT_EQ(word, c.word) << c.format << " " << c.bits;
    }
    const auto index = packed.As<int32_t>("m.g_idx");
    EXPECT_EQ(index, std::vector<int32_t>(32, 0));
  }
}

// Version 1 stores one less, so that 0 can't be said.
TEST(GptqFormat, VersionOneKeepsZeroPointsFromZero) {
  const Scheme v1 = (*FindFormat("gptq"))->Narrowed(Int(4, false));
  EXPECT_TRUE(v1.zero_above_lowest);
  EXPECT_FALSE((*FindFormat("gptq"))->Narrowed(Int(4)).zero_above_lowest);
  EXPECT_FALSE(
      (*FindFormat("gptq_v2"))->Narrowed(Int(4, false)).zero_above_lowest);
  CodeTile tile = Ramp(4, false);
  for (int r = 0; r < 32; ++r) {
    tile.zeros.push_back(static_cast<int8_t>(r % 8 + 1 - 8));
  }
  const Packed packed("gptq", v1, tile);
  for (uint32_t word : packed.As<uint32_t>("m.qzeros")) {
    EXPECT_EQ(word, 0x76543210u);
  }
}

TEST(GptqFormat, ListsTheGroupsOfColumns) {
  Scheme scheme = Int(4);
  scheme.group_size = 16;
  scheme.act_order = true;
  CodeTile tile = Ramp(4, false);
  tile.scales.assign(64, 1.0f);
  for (int c = 0; c < 32; ++c) tile.column_groups.push_back(c % 2);
  for (const char* format : {"gptq", "gptq_v2"}) {
    EXPECT_EQ(Packed(format, scheme, tile).As<int32_t>("m.g_idx"),
              tile.column_groups);
  }
  const Packed packed("compressed-tensors", scheme, tile);
  EXPECT_EQ(packed.As<int32_t>("m.weight_g_idx"), tile.column_groups);
}

TEST(AwqFormat, InterleavesOutputs) {
  CodeTile tile = Ramp(4, true);
  tile.zeros.assign(32, 0);
  for (int r = 0; r < 32; ++r) tile.zeros[r] = static_cast<int8_t>(r % 8 - 8);
  const Packed packed("awq", Int(4, false), tile);
  for (uint32_t word : packed.As<uint32_t>("m.qweight")) {
    EXPECT_EQ(word, 0x75316420u);
  }
  for (uint32_t word : packed.As<uint32_t>("m.qzeros")) {
    EXPECT_EQ(word, 0x75316420u);
  }
  const Packed symmetric("awq", Int(4), Ramp(4, true));
  for (uint32_t word : symmetric.As<uint32_t>("m.qzeros")) {
    EXPECT_EQ(word, 0x88888888u);
  }
}

TEST(BitsAndBytesFormat, FirstCodeInTheHighNibble) {
  CodeTile tile{.rows = 1, .cols = 64};
  for (int i = 0; i < 32; ++i) {
    tile.codes.push_back(15);
    tile.codes.push_back(7);
  }
  tile.scales = {0.5f};
  const Packed packed("bitsandbytes", *FindScheme("NF4"), tile);
  EXPECT_EQ(packed.Bytes("m.weight"), std::vector<uint8_t>(32, 0xF7));
  EXPECT_EQ(packed.As<float>("m.weight.absmax"), std::vector<float>{0.5f});
  const auto state = packed.Bytes("m.weight.quant_state.bitsandbytes__nf4");
  EXPECT_EQ(std::string(state.begin(), state.end()),
            "{\"quant_type\": \"nf4\", \"blocksize\": 64, \"dtype\": "
            "\"bfloat16\", \"shape\": [1, 64]}");
}

TEST(BitsAndBytesFormat, NestedStateHasAFixedLength) {
  for (float offset : {0.0f, 1.5f, 1.17549435e-38f, 0.0312345678f}) {
    CodeTile tile{.rows = 1, .cols = 64};
    tile.codes.assign(64, 0);
    tile.scales = {1};
    tile.scale_codes = {255};
    tile.nested_scales = {1};
    tile.tensor_scale = offset;
    const Packed packed("bitsandbytes", *FindScheme("NF4_DOUBLE"), tile);
    const auto bytes = packed.Bytes("m.weight.quant_state.bitsandbytes__nf4");
    const auto state = nlohmann::json::parse(bytes);
    EXPECT_EQ(state["nested_offset"].get<float>(), offset);
    EXPECT_EQ(state["nested_blocksize"], 256);
    EXPECT_EQ(state["nested_dtype"], "float32");
    EXPECT_EQ(bytes.back(), ' ');
  }
}

TEST(BitsAndBytesFormat, Int8KeepsRowMaxima) {
  CodeTile tile{.rows = 2, .cols = 2};
  tile.codes = {127, 1, 0x81, 0};
  tile.scales = {3.0f / 127, 0.1f / 127};
  const Packed packed("bitsandbytes", *FindScheme("LLM_INT8"), tile);
  const auto maxima = packed.As<float>("m.SCB");
  EXPECT_EQ(maxima[0] / 127, tile.scales[0]);
  EXPECT_EQ(maxima[1] / 127, tile.scales[1]);
  EXPECT_EQ(packed.Bytes("m.weight_format"), std::vector<uint8_t>{0});
}

// Codes 2 and 9 are 1.0 and -0.5. max|W| = 12 gives 224; a group of max 3 gets
// 112 = 0x6E.
TEST(CompressedTensors, Nvfp4) {
  const Scheme scheme = *FindScheme("NVFP4A16");
  const auto codec = *MakeCodec(scheme);
  const float global = codec->TensorScale(-12, 3, 0);
  EXPECT_EQ(global, 224.0f);
  const ScaleZero group =
      codec->FromRange(-3, 1, ScaleType(DType::kF32, global));
  EXPECT_EQ(group.scale, 0.5f);
  CodeTile tile{.rows = 1, .cols = 16};
  for (int i = 0; i < 8; ++i) {
    tile.codes.push_back(2);
    tile.codes.push_back(9);
  }
  tile.scales = {group.scale};
  tile.tensor_scale = global;
  const Packed packed("compressed-tensors", scheme, tile);
  EXPECT_EQ(packed.Bytes("m.weight_packed"), std::vector<uint8_t>(8, 0x92));
  EXPECT_EQ(packed.Bytes("m.weight_scale"), std::vector<uint8_t>{0x6E});
  EXPECT_EQ(packed.As<float>("m.weight_global_scale"), std::vector<float>{224});
}

// amax 5: 2^2 -> exponent 0; 7 = 1.75 * 4 is raised to 8 -> exponent 1; 6.9 is
// not. E4M3: 448 = 1.75 * 256 -> exponent 1.
TEST(CompressedTensors, PowersOfTwo) {
  const auto fp4 = *MakeCodec(*FindScheme("MXFP4A16"));
  EXPECT_EQ(fp4->FromRange(-5, 0, DType::kF32).scale, 1.0f);
  EXPECT_EQ(fp4->FromRange(0, 6.9f, DType::kF32).scale, 1.0f);
  EXPECT_EQ(fp4->FromRange(0, 7, DType::kF32).scale, 2.0f);
  EXPECT_EQ(fp4->FromRange(0, 0x1p-149f, DType::kF32).scale, 0x1p-127f);
  const auto fp8 = *MakeCodec(*FindScheme("MXFP8A16"));
  EXPECT_EQ(fp8->FromRange(0, 447, DType::kF32).scale, 1.0f);
  EXPECT_EQ(fp8->FromRange(0, 448, DType::kF32).scale, 2.0f);
  CodeTile tile{.rows = 1, .cols = 32};
  tile.codes.assign(32, 0x38);
  tile.scales = {0.25f};
  const Packed packed("compressed-tensors", *FindScheme("MXFP8A16"), tile);
  EXPECT_EQ(packed.Bytes("m.weight_scale"), std::vector<uint8_t>{125});
  EXPECT_EQ(packed.Bytes("m.weight"), std::vector<uint8_t>(32, 0x38));
}

}  // namespace
}  // namespace quant

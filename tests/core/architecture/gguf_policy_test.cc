// Snapshots of the policy: which type each tensor gets, for the shapes of
// well-known models. Expected: the published table of llama-quantize.
#include "core/architecture/gguf_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quant {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

struct Model {
  GgufModelFacts facts;
  int64_t hidden = 512;
  int64_t ffn = 1024;
  bool tied = false;
  bool fused = false;
};

std::vector<GgufPolicyTensor> Tensors(const Model& model) {
  const int64_t h = model.hidden;
  std::vector<GgufPolicyTensor> tensors;
  const auto add = [&](const std::string& name, Shape shape) {
    tensors.push_back({.name = name, .shape = std::move(shape)});
  };
  add("token_embd.weight", {1000, h});
  for (int64_t i = 0; i < model.facts.layers; ++i) {
    const std::string block = absl::StrCat("blk.", i, ".");
    add(block + "attn_norm.weight", {h});
    if (model.fused) {
      add(block + "attn_qkv.weight", {2 * h, h});
    } else {
      for (const char* part : {"attn_q", "attn_k", "attn_v"}) {
        add(absl::StrCat(block, part, ".weight"), {h, h});
      }
    }
    add(block + "attn_output.weight", {h, h});
    if (model.facts.experts > 0) {
      const int64_t e = model.facts.experts;
      add(block + "ffn_gate_inp.weight", {e, h});
      add(block + "ffn_gate_exps.weight", {e, model.ffn, h});
      add(block + "ffn_up_exps.weight", {e, model.ffn, h});
      add(block + "ffn_down_exps.weight", {e, h, model.ffn});
    } else {
      add(block + "ffn_gate.weight", {model.ffn, h});
      add(block + "ffn_up.weight", {model.ffn, h});
      add(block + "ffn_down.weight", {h, model.ffn});
    }
  }
  add("output_norm.weight", {h});
  if (!model.tied) add("output.weight", {1000, h});
  return tensors;
}

GgufModelFacts Facts(int64_t layers, int64_t gqa, int64_t experts = 0,
                     const std::string& architecture = "llama",
                     bool importance = false) {
  return {.architecture = architecture,
          .layers = layers,
          .heads = 32,
          .kv_heads = 32 / gqa,
          .experts = experts,
          .has_importance = importance};
}

// "attn_v" -> "Q6_K 0-3 6; Q4_K 4-5": types with the layers that get them, in
// the order of their first layer; just the type when all layers agree.
using Snapshot = std::map<std::string, std::string>;

std::string Ranges(const std::vector<int64_t>& layers) {
  std::vector<std::string> ranges;
  for (size_t i = 0; i < layers.size();) {
    size_t j = i;
    while (j + 1 < layers.size() && layers[j + 1] == layers[j] + 1) ++j;
    ranges.push_back(i == j ? absl::StrCat(layers[i])
                            : absl::StrCat(layers[i], "-", layers[j]));
    i = j + 1;
  }
  return absl::StrJoin(ranges, " ");
}

Snapshot Of(const std::string& file_type, const Model& model) {
  const auto tensors = Tensors(model);
  const auto choices =
      ChooseGgufTypes(*FindGgufFileType(file_type), model.facts, tensors);
  EXPECT_EQ(choices.size(), tensors.size());
  std::map<std::string,
           std::vector<std::pair<std::string, std::vector<int64_t>>>>
      found;
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_NE(choices[i].reason, "") << tensors[i].name;
    std::string name = tensors[i].name.substr(0, tensors[i].name.rfind('.'));
    int64_t layer = 0;
    if (absl::StartsWith(name, "blk.")) {
      const size_t dot = name.find('.', 4);
      layer = std::stoll(name.substr(4, dot - 4));
      name = name.substr(dot + 1);
    }
    const std::string type(InfoOf(choices[i].type).name);
    auto& types = found[name];
    auto it = std::find_if(types.begin(), types.end(),
                           [&](const auto& t) { return t.first == type; });
    if (it == types.end()) it = types.insert(it, {type, {}});
    it->second.push_back(layer);
  }
  Snapshot snapshot;
  for (const auto& [name, types] : found) {
    snapshot[name] =
        types.size() == 1
            ? types[0].first
            : absl::StrJoin(types, "; ", [](std::string* out, const auto& t) {
                absl::StrAppend(out, t.first, " ", Ranges(t.second));
              });
  }
  return snapshot;
}

TEST(GgufPolicy, MoreBitsAreTheEndsAndEveryThird) {
  std::vector<int64_t> layers32, layers28;
  int layers80 = 0;
  for (int64_t i = 0; i < 32; ++i) {
    if (GgufMoreBits(i, 32)) layers32.push_back(i);
  }
  for (int64_t i = 0; i < 28; ++i) {
    if (GgufMoreBits(i, 28)) layers28.push_back(i);
  }
  for (int64_t i = 0; i < 80; ++i) layers80 += GgufMoreBits(i, 80);
  EXPECT_EQ(Ranges(layers32), "0-3 6 9 12 15 18 21 24 27-31");
  EXPECT_EQ(Ranges(layers28), "0-2 5 8 11 14 17 20 23-27");
  EXPECT_EQ(layers80, 40);
}

TEST(GgufPolicy, Dense32LayersGqa4) {
  const Model model = {.facts = Facts(32, 4)};
  const char* more = "Q6_K 0-3 6 9 12 15 18 21 24 27-31; ";
  const std::string rest = " 4-5 7-8 10-11 13-14 16-17 19-20 22-23 25-26";
  Snapshot q4 = Of("Q4_K_M", model);
  EXPECT_EQ(q4["token_embd"], "Q4_K");
  EXPECT_EQ(q4["output"], "Q6_K");
  EXPECT_EQ(q4["output_norm"], "F32");
  EXPECT_EQ(q4["attn_norm"], "F32");
  EXPECT_EQ(q4["attn_q"], "Q4_K");
  EXPECT_EQ(q4["attn_k"], "Q4_K");
  EXPECT_EQ(q4["attn_output"], "Q4_K");
  EXPECT_EQ(q4["ffn_gate"], "Q4_K");
  EXPECT_EQ(q4["ffn_up"], "Q4_K");
  EXPECT_EQ(q4["attn_v"], more + ("Q4_K" + rest));
  EXPECT_EQ(q4["ffn_down"], more + ("Q4_K" + rest));
  Snapshot q5 = Of("Q5_K_M", model);
  EXPECT_EQ(q5["attn_v"], more + ("Q5_K" + rest));
  EXPECT_EQ(q5["ffn_down"], more + ("Q5_K" + rest));
  EXPECT_EQ(q5["attn_output"], "Q5_K");
}

TEST(GgufPolicy, EveryFileTypeOnADenseModel) {
  // file type, token_embd, output, attn_v, ffn_down, attn_output, attn_q.
  // 16 layers, 8 query heads per key, no importance.
  const char* kExpected[][7] = {
      {"F32", "F32", "F32", "F32", "F32", "F32", "F32"},
      {"F16", "F16", "F16", "F16", "F16", "F16", "F16"},
      {"BF16", "BF16", "BF16", "BF16", "BF16", "BF16", "BF16"},
      {"Q8_0", "Q8_0", "Q8_0", "Q8_0", "Q8_0", "Q8_0", "Q8_0"},
      {"Q6_K", "Q6_K", "Q6_K", "Q6_K", "Q6_K", "Q6_K", "Q6_K"},
      {"Q5_K_M", "Q5_K", "Q6_K",
       "Q6_K 0-1 4 7 10 13-15; Q5_K 2-3 5-6 8-9 11-12",
       "Q6_K 0-1 4 7 10 13-15; Q5_K 2-3 5-6 8-9 11-12", "Q5_K", "Q5_K"},
      {"Q5_K_S", "Q5_K", "Q6_K", "Q5_K", "Q5_K", "Q5_K", "Q5_K"},
      {"Q5_1", "Q5_1", "Q6_K", "Q5_1", "Q5_1", "Q5_1", "Q5_1"},
      {"Q5_0", "Q5_0", "Q6_K", "Q5_0", "Q5_0", "Q5_0", "Q5_0"},
      {"Q4_K_M", "Q4_K", "Q6_K",
       "Q6_K 0-1 4 7 10 13-15; Q4_K 2-3 5-6 8-9 11-12",
       "Q6_K 0-1 4 7 10 13-15; Q4_K 2-3 5-6 8-9 11-12", "Q4_K", "Q4_K"},
      {"Q4_K_S", "Q4_K", "Q6_K", "Q5_K 0-3; Q4_K 4-15", "Q5_K 0-1; Q4_K 2-15",
       "Q4_K", "Q4_K"},
      {"IQ4_NL", "IQ4_NL", "Q6_K", "Q5_K", "Q5_K 0-1; IQ4_NL 2-15", "IQ4_NL",
       "IQ4_NL"},
      {"IQ4_XS", "IQ4_XS", "Q6_K", "Q5_K", "Q5_K 0-1; IQ4_XS 2-15", "IQ4_XS",
       "IQ4_XS"},
      {"Q4_1", "Q4_1", "Q6_K", "Q4_1", "Q4_1", "Q4_1", "Q4_1"},
      {"Q4_0", "Q4_0", "Q6_K", "Q4_0", "Q4_0", "Q4_0", "Q4_0"},
      {"MXFP4_MOE", "Q8_0", "Q8_0", "Q8_0", "Q8_0", "Q8_0", "Q8_0"},
      {"Q3_K_L", "Q3_K", "Q6_K", "Q5_K", "Q5_K", "Q5_K", "Q3_K"},
      {"Q3_K_M", "Q3_K", "Q6_K", "Q5_K 0-1; Q4_K 2-15", "Q5_K 0; Q4_K 1-15",
       "Q4_K", "Q3_K"},
      {"Q3_K_S", "Q3_K", "Q6_K", "Q3_K", "Q3_K", "Q3_K", "Q3_K"},
      {"Q2_K", "Q2_K", "Q6_K", "Q4_K", "Q3_K", "Q3_K", "Q2_K"},
      {"Q2_K_S", "Q2_K", "Q6_K", "Q4_K", "Q4_K 0-1; Q2_K 2-15", "Q2_K", "Q2_K"},
      {"TQ2_0", "Q4_K", "Q6_K", "TQ2_0", "TQ2_0", "TQ2_0", "TQ2_0"},
      {"TQ1_0", "Q4_K", "Q6_K", "TQ1_0", "TQ1_0", "TQ1_0", "TQ1_0"},
  };
  ASSERT_EQ(std::size(kExpected), GgufFileTypes().size());
  for (size_t i = 0; i < std::size(kExpected); ++i) {
    const auto& row = kExpected[i];
    SCOPED_TRACE(row[0]);
    EXPECT_EQ(GgufFileTypes()[i].name, row[0]);
    Snapshot got = Of(row[0], {.facts = Facts(16, 8)});
    EXPECT_EQ(got["token_embd"], row[1]);
    EXPECT_EQ(got["output"], row[2]);
    EXPECT_EQ(got["attn_v"], row[3]);
    EXPECT_EQ(got["ffn_down"], row[4]);
    EXPECT_EQ(got["attn_output"], row[5]);
    EXPECT_EQ(got["attn_q"], row[6]);
    EXPECT_EQ(got["attn_norm"], "F32");
  }
}

TEST(GgufPolicy, FewQueriesPerKeyAndImportanceChangeIt) {
  Snapshot q2 = Of("Q2_K", {.facts = Facts(16, 1)});
  EXPECT_EQ(q2["attn_v"], "Q3_K");
  EXPECT_EQ(Of("Q2_K_S", {.facts = Facts(16, 1)})["attn_v"], "Q2_K");
  EXPECT_EQ(Of("IQ4_XS", {.facts = Facts(16, 1)})["attn_v"], "IQ4_XS");
  const GgufModelFacts with = Facts(16, 4, 0, "llama", true);
  EXPECT_EQ(Of("IQ4_XS", {.facts = with})["ffn_down"], "IQ4_XS");
  EXPECT_EQ(Of("Q4_0", {.facts = with})["ffn_down"], "Q4_1 0-1; Q4_0 2-15");
  EXPECT_EQ(Of("Q5_0", {.facts = with})["ffn_down"], "Q5_1 0-1; Q5_0 2-15");
}

TEST(GgufPolicy, TiedEmbeddingIsTheOutput) {
  Snapshot got = Of("Q4_K_M", {.facts = Facts(28, 4), .tied = true});
  EXPECT_EQ(got["token_embd"], "Q6_K");
  EXPECT_EQ(got.count("output"), 0u);
  EXPECT_EQ(Of("TQ1_0", {.facts = Facts(28, 4), .tied = true})["token_embd"],
            "Q6_K");
}

TEST(GgufPolicy, EightyLayersGetMoreForSmallValues) {
  Snapshot q3 = Of("Q3_K_S", {.facts = Facts(80, 8)});
  EXPECT_EQ(q3["attn_v"], "Q5_K");
  EXPECT_EQ(Of("Q3_K_S", {.facts = Facts(80, 1)})["attn_v"], "Q3_K");
  EXPECT_EQ(Of("Q3_K_S", {.facts = Facts(80, 1, 0, "qwen2")})["attn_v"],
            "Q5_K");
  EXPECT_EQ(Of("Q3_K_S", {.facts = Facts(80, 8, 0, "qwen3")})["attn_v"],
            "Q3_K");
  EXPECT_EQ(Of("Q2_K", {.facts = Facts(80, 8)})["attn_v"], "Q5_K");
}

TEST(GgufPolicy, ExpertsAreCountedByLayer) {
  Snapshot eight = Of("Q4_K_M", {.facts = Facts(32, 4, 8)});
  EXPECT_EQ(eight["attn_v"], "Q8_0");
  EXPECT_EQ(eight["attn_k"], "Q8_0");
  EXPECT_EQ(eight["attn_output"], "Q5_K");
  EXPECT_EQ(eight["ffn_gate_inp"], "F32");
  EXPECT_EQ(eight["ffn_down_exps"],
            "Q6_K 0-3 6 9 12 15 18 21 24 27-31; "
            "Q4_K 4-5 7-8 10-11 13-14 16-17 19-20 22-23 25-26");
  EXPECT_EQ(eight["ffn_up_exps"], "Q4_K");
  EXPECT_EQ(Of("Q3_K_L", {.facts = Facts(32, 4, 8)})["attn_output"], "Q3_K");
  EXPECT_EQ(Of("Q3_K_M", {.facts = Facts(32, 4, 8)})["attn_output"], "Q5_K");

  Snapshot many = Of("Q3_K_M", {.facts = Facts(48, 8, 128, "qwen3moe")});
  EXPECT_EQ(many["attn_v"], "Q5_K 0-1; Q4_K 2-47");
  EXPECT_EQ(many["attn_k"], "Q3_K");
  EXPECT_EQ(many["attn_output"], "Q4_K");
  EXPECT_EQ(many["ffn_down_exps"], "Q5_K 0-2; Q4_K 3-47");

  Snapshot mx = Of("MXFP4_MOE", {.facts = Facts(32, 4, 8)});
  EXPECT_EQ(mx["ffn_down_exps"], "MXFP4");
  EXPECT_EQ(mx["ffn_gate_exps"], "MXFP4");
  EXPECT_EQ(mx["ffn_up_exps"], "MXFP4");
  EXPECT_EQ(mx["attn_v"], "Q8_0");
  EXPECT_EQ(mx["attn_output"], "Q8_0");
}

TEST(GgufPolicy, FusedQkvCountsAsValues) {
  Snapshot got =
      Of("Q4_K_M", {.facts = Facts(32, 1, 0, "phi3"), .fused = true});
  EXPECT_EQ(got["attn_qkv"],
            "Q6_K 0-3 6 9 12 15 18 21 24 27-31; "
            "Q4_K 4-5 7-8 10-11 13-14 16-17 19-20 22-23 25-26");
  EXPECT_EQ(got["attn_output"], "Q4_K");
}

TEST(GgufPolicy, RaggedRowsFallBack) {
  struct Row {
    const char* file_type;
    int64_t cols;
    const char* gate;
  };
  for (const Row& row : {Row{"Q2_K", 160, "Q4_0"}, Row{"Q3_K_S", 160, "Q4_0"},
                         Row{"TQ1_0", 160, "Q4_0"}, Row{"TQ2_0", 160, "Q4_0"},
                         Row{"Q4_K_S", 160, "Q5_0"}, Row{"Q5_K_S", 160, "Q5_1"},
                         Row{"Q6_K", 160, "Q8_0"}, Row{"IQ4_XS", 160, "IQ4_NL"},
                         Row{"Q4_K_S", 172, "F16"}, Row{"Q8_0", 172, "F16"},
                         Row{"Q4_0", 172, "F16"}, Row{"Q4_K_S", 256, "Q4_K"}}) {
    Model model = {.facts = Facts(4, 4)};
    model.hidden = row.cols;
    Snapshot got = Of(row.file_type, model);
    EXPECT_EQ(got["ffn_gate"], row.gate) << row.file_type << row.cols;
  }
  Model model = {.facts = Facts(4, 4), .tied = true};
  model.hidden = 64;
  EXPECT_EQ(Of("Q4_K_M", model)["token_embd"], "Q8_0");
  const GgufTypeChoice choice = FitGgufType(GgmlType::kQ4_K, 172, "why");
  EXPECT_EQ(choice.type, GgmlType::kF16);
  EXPECT_EQ(choice.reason, "fallback: 172 % 32 != 0, Q4_K becomes F16");
  EXPECT_EQ(FitGgufType(GgmlType::kQ4_K, 160, "why").reason,
            "fallback: 160 % 256 != 0, Q4_K becomes Q5_0");
}

TEST(GgufPolicy, ReasonsSayWhy) {
  const Model model = {.facts = Facts(32, 4)};
  const auto tensors = Tensors(model);
  const auto choices =
      ChooseGgufTypes(*FindGgufFileType("Q4_K_M"), model.facts, tensors);
  std::set<std::string> reasons;
  for (const GgufTypeChoice& choice : choices) reasons.insert(choice.reason);
  EXPECT_THAT(reasons,
              ElementsAre("base type of Q4_K_M", "kept: one dimension",
                          "policy: attn_v, one of the layers with more bits",
                          "policy: ffn_down, one of the layers with more bits",
                          "policy: output"));
}

TEST(GgufPolicy, WhatIsNeverQuantizedKeepsItsType) {
  EXPECT_THAT(WhyNeverQuantized({"blk.0.attn_q.bias", {64}}),
              StartsWith("kept: "));
  EXPECT_THAT(WhyNeverQuantized({"blk.0.ffn_gate_inp.weight", {8, 64}}),
              "kept: a router");
  EXPECT_THAT(WhyNeverQuantized({"blk.0.attn_q_norm.weight", {2, 64}}),
              "kept: a norm");
  EXPECT_THAT(WhyNeverQuantized({"blk.0.ffn_gate_inp_shexp.weight", {1, 64}}),
              "kept: one dimension");
  EXPECT_THAT(WhyNeverQuantized({"rope_factors", {2, 64}}),
              "kept: not a weight");
  EXPECT_THAT(WhyNeverQuantized({"blk.0.attn_q.weight", {64, 64}}), IsEmpty());
  const auto choices = ChooseGgufTypes(
      *FindGgufFileType("F16"), Facts(1, 1),
      {{"blk.0.ffn_gate_inp.weight", {8, 64}, GgmlType::kBF16}});
  EXPECT_EQ(choices[0].type, GgmlType::kBF16);
}

TEST(GgufPolicy, ForcedTensorsDoNotCount) {
  Model model = {.facts = Facts(16, 4)};
  auto tensors = Tensors(model);
  for (GgufPolicyTensor& tensor : tensors) {
    if (tensor.name == "blk.0.attn_v.weight") tensor.forced = GgmlType::kQ8_0;
  }
  const auto choices =
      ChooseGgufTypes(*FindGgufFileType("Q3_K_M"), model.facts, tensors);
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!absl::StrContains(tensors[i].name, "attn_v")) continue;
    const GgmlType expected = tensors[i].name == "blk.0.attn_v.weight"
                                  ? GgmlType::kQ8_0
                              : tensors[i].name == "blk.1.attn_v.weight" ||
                                      tensors[i].name == "blk.2.attn_v.weight"
                                  ? GgmlType::kQ5_K
                                  : GgmlType::kQ4_K;
    EXPECT_EQ(choices[i].type, expected) << tensors[i].name;
  }
}

TEST(GgufPolicy, TheOrderOfTheListDoesNotMatter) {
  const Model model = {.facts = Facts(32, 4)};
  auto tensors = Tensors(model);
  const auto& file_type = *FindGgufFileType("Q4_K_M");
  const auto forward = ChooseGgufTypes(file_type, model.facts, tensors);
  std::reverse(tensors.begin(), tensors.end());
  const auto backward = ChooseGgufTypes(file_type, model.facts, tensors);
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(forward[i].type, backward[tensors.size() - 1 - i].type);
  }
}

TEST(GgufPolicy, NamesAreFoundInAnyCaseAndByAlias) {
  EXPECT_EQ(FindGgufFileType("q4_k_m")->id, 15u);
  EXPECT_EQ(FindGgufFileType("Q4_K")->name, "Q4_K_M");
  EXPECT_EQ(FindGgufFileType("Q3_K")->name, "Q3_K_M");
  EXPECT_EQ(FindGgufFileType("Q5_K")->name, "Q5_K_M");
  EXPECT_EQ(FindGgufFileType("IQ4_XS")->id, 30u);
  EXPECT_EQ(FindGgufFileType("Q4_K_X"), nullptr);
  std::set<uint32_t> ids;
  for (const GgufFileType& type : GgufFileTypes()) ids.insert(type.id);
  EXPECT_EQ(ids.size(), GgufFileTypes().size());
  EXPECT_EQ(GgufFileTypeAliases().size(), 3u);
}

}  // namespace
}  // namespace quant

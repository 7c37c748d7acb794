// Networks of two small blocks, and texts for them.
#ifndef QUANT_TESTS_CORE_PIPELINE_NETWORK_MODELS_H_
#define QUANT_TESTS_CORE_PIPELINE_NETWORK_MODELS_H_

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/tokenizer/dataset.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {

inline constexpr int64_t kHidden = 64, kWidth = 96, kVocabulary = 96;
inline constexpr int64_t kLength = 24;

inline std::string Config(const std::string& family,
                          const std::string& more = "") {
  return absl::StrCat(R"({"architectures": [")", family, R"(ForCausalLM"],
      "vocab_size": 96, "hidden_size": 64, "intermediate_size": 96,
      "num_hidden_layers": 2, "num_attention_heads": 4,
      "num_key_value_heads": 2, "max_position_embeddings": 64,
      "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu")",
                      more, "}");
}

inline std::vector<TensorSpec> Llama(DType dtype) {
  std::vector<TensorSpec> tensors = LlamaTensors(kHidden, kWidth, dtype);
  for (int i = 0; i < 2; ++i) {
    tensors.push_back(
        {absl::StrCat("model.layers.", i, ".post_attention_layernorm.weight"),
         {kHidden},
         dtype});
  }
  return tensors;
}

// Mixtral: `experts` instead of one MLP.
inline std::vector<TensorSpec> Mixtral(int experts) {
  std::vector<TensorSpec> tensors;
  for (const TensorSpec& tensor : Llama(DType::kF32)) {
    if (tensor.name.find(".mlp.") == std::string::npos) {
      tensors.push_back(tensor);
    }
  }
  for (int i = 0; i < 2; ++i) {
    const std::string moe =
        absl::StrCat("model.layers.", i, ".block_sparse_moe.");
    tensors.push_back({moe + "gate.weight", {experts, kHidden}, DType::kF32});
    for (int e = 0; e < experts; ++e) {
      const std::string expert = absl::StrCat(moe, "experts.", e, ".");
      tensors.push_back({expert + "w1.weight", {kWidth, kHidden}, DType::kF32});
      tensors.push_back({expert + "w3.weight", {kWidth, kHidden}, DType::kF32});
      tensors.push_back({expert + "w2.weight", {kHidden, kWidth}, DType::kF32});
    }
  }
  return tensors;
}

inline std::shared_ptr<const DatasetFile> Text(int64_t sequences) {
  auto text = std::make_shared<DatasetFile>();
  std::mt19937 random(5);
  for (int64_t i = 0; i < sequences * kLength; ++i) {
    text->data.ids.push_back(static_cast<int32_t>(random() % kVocabulary));
  }
  text->data.sequences = sequences;
  text->data.sequence_length = kLength;
  text->data.digest = std::string(64, 'd');
  text->name = "text.npy";
  text->sha256 = std::string(64, 'a');
  return text;
}

}  // namespace quant

#endif  // QUANT_TESTS_CORE_PIPELINE_NETWORK_MODELS_H_

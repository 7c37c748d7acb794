#include "core/calibrate/folding.h"

#include <numeric>

#include "absl/strings/str_cat.h"

namespace quant {
namespace {

std::vector<int32_t> RowsFrom(int64_t first, int64_t count) {
  std::vector<int32_t> rows(count);
  std::iota(rows.begin(), rows.end(), static_cast<int32_t>(first));
  return rows;
}

Fold FoldIntoNorm(const NetworkConfig& config, std::string norm,
                  std::vector<std::string> readers) {
  const bool less_one = config.traits.norms == NormStyle::kSandwich;
  return {.readers = std::move(readers),
          .source = std::move(norm),
          .is_norm = true,
          .norm_offset = less_one ? 1.0f : 0.0f,
          .rows = RowsFrom(0, config.hidden)};
}

// What attention gives: every head's values, repeated for the queries that
// share them.
Fold FoldIntoValues(const NetworkConfig& config, const std::string& prefix) {
  const bool fused = config.traits.fused;
  const int64_t first = fused ? config.q_width() + config.kv_width() : 0;
  const int64_t repeats = config.heads / config.kv_heads;
  Fold fold{.readers = {prefix + "o_proj"},
            .source = prefix + (fused ? "qkv_proj" : "v_proj")};
  for (int64_t head = 0; head < config.heads; ++head) {
    const auto rows =
        RowsFrom(first + head / repeats * config.head_dim, config.head_dim);
    fold.rows.insert(fold.rows.end(), rows.begin(), rows.end());
  }
  return fold;
}

struct MlpModules {
  std::vector<std::string> readers;  // gate and up, or both fused
  std::string down;
  int64_t width = 0;
};

void AddMlp(const NetworkConfig& config, const MlpModules& mlp,
            const std::string& norm, const std::string& obstacle,
            std::vector<Fold>& folds) {
  folds.push_back(FoldIntoNorm(config, norm, mlp.readers));
  folds.back().obstacle = obstacle;
  // Up comes last, also of a fused matrix.
  const int64_t first = mlp.readers.size() == 1 ? mlp.width : 0;
  folds.push_back({.readers = {mlp.down},
                   .source = mlp.readers.back(),
                   .rows = RowsFrom(first, mlp.width)});
}

void AddExperts(const NetworkConfig& config, const std::string& prefix,
                const std::string& norm, std::vector<Fold>& folds) {
  const bool mixtral = config.traits.experts == ExpertNames::kMixtral;
  const std::string experts =
      absl::StrCat(prefix, mixtral ? "block_sparse_moe" : "mlp", ".experts.");
  for (int64_t e = 0; e < config.experts; ++e) {
    const std::string expert = absl::StrCat(experts, e, ".");
    MlpModules mlp{.readers = {expert + (mixtral ? "w1" : "gate_proj"),
                               expert + (mixtral ? "w3" : "up_proj")},
                   .down = expert + (mixtral ? "w2" : "down_proj"),
                   .width = config.expert_intermediate};
    AddMlp(config, mlp, norm, "the router reads them, too", folds);
  }
}

}  // namespace

std::vector<Fold> FoldsOf(const NetworkConfig& config, int64_t layer) {
  const std::string prefix = absl::StrCat("model.layers.", layer, ".");
  const std::string attention = prefix + "self_attn.";
  const bool fused = config.traits.fused;
  std::vector<std::string> qkv = {attention + "qkv_proj"};
  if (!fused) {
    qkv = {attention + "q_proj", attention + "k_proj", attention + "v_proj"};
  }
  std::vector<Fold> folds;
  folds.push_back(
      FoldIntoNorm(config, prefix + "input_layernorm", std::move(qkv)));
  folds.push_back(FoldIntoValues(config, attention));
  const std::string norm = prefix + (config.traits.norms == NormStyle::kSandwich
                                         ? "pre_feedforward_layernorm"
                                         : "post_attention_layernorm");
  if (config.layers[layer].sparse) {
    AddExperts(config, prefix, norm, folds);
    return folds;
  }
  MlpModules mlp{.readers = {prefix + "mlp.gate_up_proj"},
                 .down = prefix + "mlp.down_proj",
                 .width = config.intermediate};
  if (!fused) mlp.readers = {prefix + "mlp.gate_proj", prefix + "mlp.up_proj"};
  AddMlp(config, mlp, norm, "", folds);
  return folds;
}

}  // namespace quant

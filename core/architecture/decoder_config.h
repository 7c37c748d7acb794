// config.json of a decoder, as numbers that can be relied on: every one is in
// its range, and those that must divide each other do.
//
// Keys and defaults: the configuration classes of Hugging Face transformers,
// old form (rope_theta, rope_scaling) and new (rope_parameters).
#ifndef QUANT_CORE_ARCHITECTURE_DECODER_CONFIG_H_
#define QUANT_CORE_ARCHITECTURE_DECODER_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quant {

// Bits of a set, so that a table can say for whom a row is.
enum Family : uint32_t {
  kLlama = 1 << 0,
  kMixtral = 1 << 1,
  kQwen2 = 1 << 2,
  kQwen3 = 1 << 3,
  kQwen2Moe = 1 << 4,
  kQwen3Moe = 1 << 5,
  kGemma = 1 << 6,
  kGemma2 = 1 << 7,
  kGemma3 = 1 << 8,
  kPhi3 = 1 << 9,
};

struct FamilyInfo {
  absl::string_view class_name;  // architectures[0] of config.json
  absl::string_view model_type;  // of config.json
  Family family;
  absl::string_view gguf_name;  // general.architecture
  bool permutes;                // q and k rows are reordered in GGUF files
  bool adds_one;                // norms are stored as 1 + w in GGUF files
  bool tied;                    // unless the config says not
};
absl::Span<const FamilyInfo> Families();

enum class RopeScaling { kNone, kLinear, kLlama3, kYarn, kLongRope };

struct RopeConfig {
  double theta = 10000;
  double local_theta = 10000;  // of layers with a sliding window
  int64_t dims = 0;            // of a head, that are rotated
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1;
  int64_t original_context = 0;  // 0 = not given
  double low_freq_factor = 1;    // with kLlama3
  double high_freq_factor = 4;
  std::optional<double> attention_factor;
  std::optional<double> beta_fast, beta_slow;       // with kYarn
  std::vector<double> long_factors, short_factors;  // with kLongRope, dims / 2
};

struct DecoderConfig {
  const FamilyInfo* family = nullptr;
  std::string name;  // for people; may be empty
  int64_t layers = 0;
  int64_t hidden = 0;
  int64_t ffn = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;  // divides heads
  int64_t head_dim = 0;  // even
  bool has_head_dim = false;
  int64_t vocab = 0;  // 0 = not given
  int64_t context = 0;
  double norm_epsilon = 0;
  RopeConfig rope;
  int64_t sliding_window = 0;  // 0 = none
  double attention_softcap = 0;
  double final_softcap = 0;
  int64_t experts = 0;
  int64_t experts_used = 0;
  int64_t expert_ffn = 0;
  int64_t shared_expert_ffn = 0;
  std::optional<bool> tied;  // when the config says
  // Ids of the config: -1 = not given. The first of a list.
  int64_t bos = -1, eos = -1, pad = -1;
};

// DATA_LOSS MODEL_MALFORMED for numbers that are missing, out of range or don't
// fit each other; INVALID_ARGUMENT UNSUPPORTED for families that are not in the
// table (naming the nearest), and for features that GGUF loaders don't have.
absl::StatusOr<DecoderConfig> ParseDecoderConfig(absl::string_view json);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_DECODER_CONFIG_H_

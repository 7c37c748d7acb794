#include "core/architecture/hf_rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/architecture/rope_config.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"

namespace quant {
namespace {

using Json = nlohmann::ordered_json;

// Converters compute wavelengths in float32; a wrong parameter is off by far
// more.
constexpr double kFactorTolerance = 1e-4;
// Original contexts of llama3 models: a power of two, first the published one.
constexpr int64_t kPublishedContext = 8192;
constexpr int kMinContextLog2 = 5, kMaxContextLog2 = 24;

absl::Status Unsupported(const std::string& message) {
  return MakeError(absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
                   message);
}

bool Fit(const RopeConfig& rope, const std::vector<float>& factors) {
  const std::vector<float> made = Llama3FrequencyFactors(rope);
  for (size_t j = 0; j < factors.size(); ++j) {
    if (std::abs(made[j] - factors[j]) > kFactorTolerance * factors[j]) {
      return false;
    }
  }
  return true;
}

// The parameters of two frequencies between both regimes, with low 1 (only
// ratios count): s = (L / l - 1) / (high - 1) is linear in 1 / l, and
// s = (1 / f - 1 / F) / (1 - 1 / F).
std::optional<RopeConfig> Solve(RopeConfig rope,
                                const std::vector<float>& factors) {
  std::vector<std::pair<double, double>> points;  // (1 / l, s)
  for (size_t j = 0; j < factors.size(); ++j) {
    const double f = factors[j];
    if (f <= 1 || f >= rope.factor) continue;
    const double exponent =
        2 * static_cast<double>(j) / static_cast<double>(rope.dims);
    const double length = 2 * std::numbers::pi * std::pow(rope.theta, exponent);
    points.emplace_back(1 / length,
                        (1 / f - 1 / rope.factor) / (1 - 1 / rope.factor));
  }
  if (points.size() < 2) return std::nullopt;
  const auto [x0, s0] = points.front();
  const auto [x1, s1] = points.back();
  const double slope = (s1 - s0) / (x1 - x0);  // L / (high - 1)
  const double offset = slope * x0 - s0;       // 1 / (high - 1)
  if (!(offset > 1e-6) || !(slope > 0)) return std::nullopt;
  const double context = std::round(slope / offset);
  if (!(context >= 2) || context > 1e9) return std::nullopt;
  rope.original_context = static_cast<int64_t>(context);
  rope.high_freq_factor = std::round(1e3 * (1 + 1 / offset)) / 1e3;
  return rope;
}

// The llama3 parameters that make these factors: the published ones, other
// contexts with their shape, or what two of the factors tell.
std::optional<RopeConfig> FindLlama3(double theta, int64_t dims,
                                     const std::vector<float>& factors) {
  RopeConfig rope;
  rope.theta = theta;
  rope.dims = dims;
  rope.factor =
      ShortestDecimal(*std::max_element(factors.begin(), factors.end()));
  std::vector<int64_t> contexts = {kPublishedContext};
  for (int k = kMinContextLog2; k <= kMaxContextLog2; ++k) {
    contexts.push_back(int64_t{1} << k);
  }
  for (int64_t context : contexts) {
    rope.original_context = context;
    if (Fit(rope, factors)) return rope;
  }
  std::optional<RopeConfig> solved = Solve(rope, factors);
  return solved && Fit(*solved, factors) ? solved : std::nullopt;
}

class RopeWriter {
 public:
  RopeWriter(const GgufCheckpoint& model, const HfRopeSizes& sizes,
             GgufKeys& keys, Json& config)
      : model_(model), sizes_(sizes), keys_(keys), config_(config) {}

  absl::Status Write() {
    QUANT_ASSIGN_OR_RETURN(theta_, keys_.Float("rope.freq_base", 10000));
    config_["rope_theta"] = theta_;
    if (sizes_.family == kGemma3) {
      QUANT_ASSIGN_OR_RETURN(const double local,
                             keys_.Float("rope.freq_base_swa", 10000));
      config_["rope_local_base_freq"] = local;
    }
    QUANT_RETURN_IF_ERROR(WriteDims());
    QUANT_ASSIGN_OR_RETURN(
        original_, keys_.Int("rope.scaling.original_context_length", 0));
    if (sizes_.family == kPhi3) {
      if (original_ == 0) original_ = sizes_.context;
      config_["original_max_position_embeddings"] = original_;
    }
    QUANT_ASSIGN_OR_RETURN(attention_,
                           keys_.Float("rope.scaling.attn_factor", 1));
    QUANT_RETURN_IF_ERROR(CheckBuiltIn());
    QUANT_ASSIGN_OR_RETURN(config_["rope_scaling"], Scaling());
    return absl::OkStatus();
  }

 private:
  absl::Status WriteDims() {
    QUANT_ASSIGN_OR_RETURN(dims_,
                           keys_.Int("rope.dimension_count", sizes_.head_dim));
    if (dims_ == sizes_.head_dim) return absl::OkStatus();
    if (sizes_.family != kPhi3 || dims_ < 2 || dims_ > sizes_.head_dim) {
      return Unsupported(absl::StrCat("key rope.dimension_count: is ", dims_,
                                      "; whole heads of ", sizes_.head_dim,
                                      " dimensions are rotated"));
    }
    // Readers cut the product off.
    const double whole = static_cast<double>(sizes_.head_dim);
    double part = static_cast<double>(dims_) / whole;
    if (static_cast<int64_t>(part * whole) < dims_)
      part = std::nextafter(part, 1);
    config_["partial_rotary_factor"] = part;
    return absl::OkStatus();
  }

  // Numbers that files may have and configs have not.
  absl::Status CheckBuiltIn() {
    for (const char* key :
         {"rope.scaling.yarn_ext_factor", "rope.scaling.yarn_attn_factor"}) {
      QUANT_ASSIGN_OR_RETURN(const double value, keys_.Float(key, 1));
      if (value == 1) continue;
      return Unsupported(absl::StrCat("key ", key, ": is ", value,
                                      "; config.json can't say it"));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Json> Scaling() {
    QUANT_ASSIGN_OR_RETURN(const std::string type,
                           keys_.Text("rope.scaling.type"));
    // The first versions of the format knew one kind, under this key.
    QUANT_ASSIGN_OR_RETURN(const double older,
                           keys_.Float("rope.scale_linear", 1));
    QUANT_ASSIGN_OR_RETURN(const double factor,
                           keys_.Float("rope.scaling.factor", older));
    const bool long_rope =
        !model_.long_factors.empty() || !model_.short_factors.empty();
    if (type == "yarn") return Yarn(factor);
    if (long_rope || type == "longrope") return LongRope();
    if (attention_ != 1) {
      return Unsupported(
          absl::StrCat("key rope.scaling.attn_factor: is ", attention_,
                       "; without yarn or longrope config.json can't say it"));
    }
    if (!type.empty() && type != "linear" && type != "none") {
      return Unsupported(absl::StrCat("key rope.scaling.type: is ",
                                      QuotedName(type),
                                      "; none, linear, yarn and longrope are "
                                      "known"));
    }
    if (!model_.rope_freqs.empty()) return Llama3();
    if (type == "none" || factor == 1) return Json();
    return Json{{"rope_type", "linear"}, {"factor", factor}};
  }

  absl::StatusOr<Json> Llama3() const {
    const std::vector<float>& factors = model_.rope_freqs;
    const bool plain = std::all_of(factors.begin(), factors.end(),
                                   [](float f) { return f == 1; });
    const bool sane = std::all_of(factors.begin(), factors.end(),
                                  [](float f) { return f >= 1 && f <= 1e6; });
    const int64_t count = static_cast<int64_t>(factors.size());
    if ((sizes_.family & (kLlama | kMixtral)) == 0 || !sane ||
        2 * count != dims_) {
      return Unsupported(
          absl::StrCat("tensor \"rope_freqs.weight\": ", count,
                       " factors that this class can't have; ", dims_ / 2,
                       " of at least 1 in models of llama are known"));
    }
    if (plain) return Json();
    const auto rope = FindLlama3(theta_, dims_, factors);
    if (!rope) {
      return Unsupported(
          "tensor \"rope_freqs.weight\": rope_type llama3 makes no such "
          "factors, and config.json has no other words for them");
    }
    return Json{{"rope_type", "llama3"},
                {"factor", rope->factor},
                {"low_freq_factor", rope->low_freq_factor},
                {"high_freq_factor", rope->high_freq_factor},
                {"original_max_position_embeddings", rope->original_context}};
  }

  absl::StatusOr<Json> Yarn(double factor) {
    Json scaling{{"rope_type", "yarn"}, {"factor", factor}};
    if (original_ > 0) {
      scaling["original_max_position_embeddings"] = original_;
    }
    for (const char* name : {"beta_fast", "beta_slow"}) {
      QUANT_ASSIGN_OR_RETURN(
          const std::optional<double> beta,
          keys_.FindFloat(absl::StrCat("rope.scaling.yarn_", name)));
      if (beta) scaling[name] = *beta;
    }
    // Loaders multiply by 0.1 ln(s) + 1 themselves, as does who finds no
    // attention_factor.
    if (attention_ != 1) {
      const double built_in = 0.1 * std::log(std::max(1.0, factor)) + 1;
      scaling["attention_factor"] = Times(attention_, built_in);
    }
    return scaling;
  }

  // The shortest decimal whose quotient by `factor` is this float32 again.
  static double Times(double value, double factor) {
    const double product = value * factor;
    for (int digits = 1; digits < 17; ++digits) {
      const double rounded = std::strtod(
          absl::StrFormat("%.*g", digits, product).c_str(), nullptr);
      if (static_cast<float>(rounded / factor) == static_cast<float>(value)) {
        return rounded;
      }
    }
    return product;
  }

  absl::StatusOr<Json> LongRope() const {
    const int64_t wanted = dims_ / 2;
    for (const auto* factors : {&model_.long_factors, &model_.short_factors}) {
      if (static_cast<int64_t>(factors->size()) == wanted) continue;
      return ModelMalformed(absl::StrCat(
          "tensors \"rope_factors_long.weight\" and "
          "\"rope_factors_short.weight\": one has ",
          factors->size(), " factors; longrope needs ", wanted, " in each"));
    }
    Json scaling{{"type", "longrope"},
                 {"short_factor", Decimals(model_.short_factors)},
                 {"long_factor", Decimals(model_.long_factors)}};
    RopeConfig rope;
    rope.scaling = RopeScaling::kLongRope;
    rope.original_context = original_;
    const float usual =
        static_cast<float>(RopeAttentionFactor(rope, sizes_.context));
    if (static_cast<float>(attention_) != usual) {
      scaling["attention_factor"] = attention_;
    }
    return scaling;
  }

  static std::vector<double> Decimals(const std::vector<float>& values) {
    std::vector<double> decimals;
    for (float value : values) decimals.push_back(ShortestDecimal(value));
    return decimals;
  }

  const GgufCheckpoint& model_;
  const HfRopeSizes& sizes_;
  GgufKeys& keys_;
  Json& config_;
  double theta_ = 0;
  double attention_ = 1;
  int64_t dims_ = 0;
  int64_t original_ = 0;
};

}  // namespace

absl::Status AddHfRope(const GgufCheckpoint& model, const HfRopeSizes& sizes,
                       GgufKeys& keys, nlohmann::ordered_json& config) {
  return RopeWriter(model, sizes, keys, config).Write();
}

}  // namespace quant

#include "core/architecture/rope_config.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

constexpr IntRange kContextRange = {2, std::numeric_limits<uint32_t>::max()};
constexpr double kGemma3Theta = 1e6;
// Of Llama 3.1, for configs that leave them out.
constexpr double kLlama3Factor = 8;
constexpr int64_t kLlama3Context = 8192;

absl::Status Unsupported(absl::string_view message) {
  return MakeError(absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
                   absl::StrCat("config.json: ", message));
}

absl::StatusOr<RopeScaling> ParseScaling(const std::string& name) {
  // "dynamic" changes nothing within the model's context, "mrope" nothing for
  // text.
  if (name.empty() || name == "default" || name == "dynamic" ||
      name == "mrope") {
    return RopeScaling::kNone;
  }
  if (name == "linear") return RopeScaling::kLinear;
  if (name == "llama3") return RopeScaling::kLlama3;
  if (name == "yarn") return RopeScaling::kYarn;
  if (name == "longrope" || name == "su") return RopeScaling::kLongRope;
  return Annotate(UnknownNameError("rope_type", name,
                                   {"default", "dynamic", "linear", "llama3",
                                    "longrope", "yarn"}),
                  "config.json");
}

// Where the parameters stand.
struct Places {
  std::optional<ConfigObject> global;   // rope_parameters or rope_scaling
  std::optional<ConfigObject> sliding;  // of sliding layers, new form only
};

absl::StatusOr<Places> FindPlaces(const ConfigObject& config) {
  Places places;
  QUANT_ASSIGN_OR_RETURN(places.global, config.FindObject("rope_parameters"));
  if (!places.global) {
    QUANT_ASSIGN_OR_RETURN(places.global, config.FindObject("rope_scaling"));
    return places;
  }
  QUANT_ASSIGN_OR_RETURN(places.sliding,
                         places.global->FindObject("sliding_attention"));
  QUANT_ASSIGN_OR_RETURN(const std::optional<ConfigObject> full,
                         places.global->FindObject("full_attention"));
  if (full) places.global = full;
  return places;
}

absl::Status ReadTheta(const ConfigObject& config, const Places& places,
                       const DecoderConfig& decoder, RopeConfig& rope) {
  const bool gemma3 = decoder.family->family == kGemma3;
  QUANT_ASSIGN_OR_RETURN(
      rope.theta,
      config.Positive({"rope_theta"}, gemma3 ? kGemma3Theta : rope.theta));
  if (places.global) {
    QUANT_ASSIGN_OR_RETURN(rope.theta,
                           places.global->Positive({"rope_theta"}, rope.theta));
  }
  QUANT_ASSIGN_OR_RETURN(
      rope.local_theta,
      config.Positive({"rope_local_base_freq"}, rope.local_theta));
  if (places.sliding) {
    QUANT_ASSIGN_OR_RETURN(
        rope.local_theta,
        places.sliding->Positive({"rope_theta"}, rope.local_theta));
  }
  return absl::OkStatus();
}

absl::Status ReadDims(const ConfigObject& config, const Places& places,
                      const DecoderConfig& decoder, RopeConfig& rope) {
  QUANT_ASSIGN_OR_RETURN(double part,
                         config.Positive({"partial_rotary_factor"}, 1));
  if (places.global) {
    QUANT_ASSIGN_OR_RETURN(
        part, places.global->Positive({"partial_rotary_factor"}, part));
  }
  if (part != 1 && decoder.family->family != kPhi3) {
    return Unsupported(absl::StrCat("partial_rotary_factor is ", part,
                                    "; loaders of ", decoder.family->gguf_name,
                                    " rotate whole heads"));
  }
  rope.dims =
      part >= 1
          ? decoder.head_dim
          : static_cast<int64_t>(part * static_cast<double>(decoder.head_dim));
  if (part > 1 || rope.dims < 2 || rope.dims % 2 != 0) {
    return ModelMalformed(absl::StrCat(
        "config.json: partial_rotary_factor ", part, " of ", decoder.head_dim,
        " dimensions; an even number of them, at least 2, can be rotated"));
  }
  return absl::OkStatus();
}

absl::Status ReadFactor(const ConfigObject& scaling, RopeConfig& rope) {
  const bool needed = rope.scaling == RopeScaling::kLinear ||
                      rope.scaling == RopeScaling::kYarn;
  if (needed && !scaling.Has({"factor"})) return scaling.Missing("factor");
  QUANT_ASSIGN_OR_RETURN(
      rope.factor,
      scaling.Positive({"factor"}, rope.scaling == RopeScaling::kLlama3
                                       ? kLlama3Factor
                                       : 1));
  QUANT_ASSIGN_OR_RETURN(rope.attention_factor,
                         scaling.FindPositive({"attention_factor"}));
  QUANT_ASSIGN_OR_RETURN(rope.beta_fast, scaling.FindPositive({"beta_fast"}));
  QUANT_ASSIGN_OR_RETURN(rope.beta_slow, scaling.FindPositive({"beta_slow"}));
  return absl::OkStatus();
}

absl::Status ReadLlama3(const ConfigObject& scaling, RopeConfig& rope) {
  if (rope.original_context == 0) rope.original_context = kLlama3Context;
  QUANT_ASSIGN_OR_RETURN(rope.low_freq_factor,
                         scaling.Positive({"low_freq_factor"}, 1));
  QUANT_ASSIGN_OR_RETURN(rope.high_freq_factor,
                         scaling.Positive({"high_freq_factor"}, 4));
  if (rope.high_freq_factor > rope.low_freq_factor) return absl::OkStatus();
  return ModelMalformed(
      absl::StrCat("config.json: high_freq_factor ", rope.high_freq_factor,
                   " is not above low_freq_factor ", rope.low_freq_factor));
}

absl::Status ReadLongRope(const ConfigObject& scaling,
                          const DecoderConfig& decoder, RopeConfig& rope) {
  if (decoder.family->family != kPhi3) {
    return Unsupported(absl::StrCat("rope_type is longrope; loaders of ",
                                    decoder.family->gguf_name,
                                    " have no tensors for it"));
  }
  if (rope.original_context == 0) rope.original_context = decoder.context;
  QUANT_ASSIGN_OR_RETURN(rope.long_factors,
                         scaling.Positives("long_factor", rope.dims / 2));
  QUANT_ASSIGN_OR_RETURN(rope.short_factors,
                         scaling.Positives("short_factor", rope.dims / 2));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RopeConfig> ReadRope(const ConfigObject& config,
                                    const DecoderConfig& decoder) {
  RopeConfig rope;
  QUANT_ASSIGN_OR_RETURN(const Places places, FindPlaces(config));
  QUANT_RETURN_IF_ERROR(ReadTheta(config, places, decoder, rope));
  QUANT_RETURN_IF_ERROR(ReadDims(config, places, decoder, rope));
  QUANT_ASSIGN_OR_RETURN(
      rope.original_context,
      config.Int({"original_max_position_embeddings"}, kContextRange, 0));
  if (!places.global) return rope;
  const ConfigObject& scaling = *places.global;
  QUANT_ASSIGN_OR_RETURN(rope.original_context,
                         scaling.Int({"original_max_position_embeddings"},
                                     kContextRange, rope.original_context));
  QUANT_ASSIGN_OR_RETURN(const std::string type,
                         scaling.String({"rope_type", "type"}));
  QUANT_ASSIGN_OR_RETURN(rope.scaling, ParseScaling(type));
  if (rope.scaling == RopeScaling::kNone) return rope;
  QUANT_RETURN_IF_ERROR(ReadFactor(scaling, rope));
  if (rope.scaling == RopeScaling::kLlama3) {
    QUANT_RETURN_IF_ERROR(ReadLlama3(scaling, rope));
  } else if (rope.scaling == RopeScaling::kLongRope) {
    QUANT_RETURN_IF_ERROR(ReadLongRope(scaling, decoder, rope));
  }
  return rope;
}

std::vector<float> Llama3FrequencyFactors(const RopeConfig& rope) {
  const double context = static_cast<double>(rope.original_context);
  const double low = rope.low_freq_factor;
  const double high = rope.high_freq_factor;
  std::vector<float> factors;
  for (int64_t j = 0; j < rope.dims / 2; ++j) {
    const double exponent =
        2 * static_cast<double>(j) / static_cast<double>(rope.dims);
    const double length = 2 * std::numbers::pi * std::pow(rope.theta, exponent);
    double factor = 1;
    if (length > context / low) {
      factor = rope.factor;
    } else if (length >= context / high) {
      const double s = (context / length - low) / (high - low);
      factor = 1 / ((1 - s) / rope.factor + s);
    }
    factors.push_back(static_cast<float>(factor));
  }
  return factors;
}

double RopeAttentionFactor(const RopeConfig& rope, int64_t context) {
  if (rope.scaling == RopeScaling::kYarn && rope.attention_factor) {
    // Loaders multiply by 0.1 ln(s) + 1 themselves.
    const double s = std::max(1.0, rope.factor);
    return *rope.attention_factor / (0.1 * std::log(s) + 1);
  }
  if (rope.scaling != RopeScaling::kLongRope) return 1;
  if (rope.attention_factor) return *rope.attention_factor;
  const double original = static_cast<double>(rope.original_context);
  const double s = static_cast<double>(context) / original;
  return s > 1 ? std::sqrt(1 + std::log(s) / std::log(original)) : 1;
}

}  // namespace quant

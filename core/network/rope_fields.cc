#include "core/network/rope_fields.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"
#include "core/network/json_fields.h"

namespace quant {
namespace {

using Json = nlohmann::json;

constexpr double kMaxTheta = 1e12;
constexpr double kMaxFactor = 1e6;

absl::StatusOr<RopeKind> KindOf(const std::string& name) {
  // "su" is the old name of longrope; "mrope" positions are plain for text.
  if (name == "default" || name == "mrope") return RopeKind::kDefault;
  if (name == "linear") return RopeKind::kLinear;
  if (name == "dynamic") return RopeKind::kDynamic;
  if (name == "llama3") return RopeKind::kLlama3;
  if (name == "yarn") return RopeKind::kYarn;
  if (name == "longrope" || name == "su") return RopeKind::kLongrope;
  return UnknownNameError(
      "rope_type", name,
      {"default", "linear", "dynamic", "llama3", "yarn", "longrope"});
}

double YarnMscale(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

double YarnAttention(JsonFields& fields, double factor) {
  if (fields.Has("attention_factor")) {
    return fields.Number("attention_factor", 1e-3, 1e3);
  }
  const double mscale = fields.Number("mscale", 0, 1e3, 0);
  const double all = fields.Number("mscale_all_dim", 0, 1e3, 0);
  if (mscale > 0 && all > 0) {
    return YarnMscale(factor, mscale) / YarnMscale(factor, all);
  }
  return YarnMscale(factor, 1);
}

// sqrt(1 + ln f / ln L0), f how far the context was stretched.
double LongropeAttention(JsonFields& fields, const RopeSettings& rope,
                         int64_t max_positions) {
  if (fields.Has("attention_factor")) {
    return fields.Number("attention_factor", 1e-3, 1e3);
  }
  const double original = static_cast<double>(rope.original_positions);
  const double factor =
      fields.Number("factor", 1e-3, kMaxFactor,
                    static_cast<double>(max_positions) / original);
  if (factor <= 1 || original <= 1) return 1;
  return std::sqrt(1 + std::log(factor) / std::log(original));
}

void ParseScaling(JsonFields& fields, int64_t max_positions,
                  RopeSettings& rope) {
  switch (rope.kind) {
    case RopeKind::kDefault:
      return;
    case RopeKind::kLongrope: {
      const int64_t half = rope.dims / 2;
      rope.short_factors = fields.Numbers("short_factor", half, 1e-6, 1e6);
      rope.long_factors = fields.Numbers("long_factor", half, 1e-6, 1e6);
      rope.attention_factor = LongropeAttention(fields, rope, max_positions);
      return;
    }
    default:
      rope.factor = fields.Number("factor", 1e-3, kMaxFactor);
  }
  if (rope.kind == RopeKind::kLlama3) {
    rope.low_frequency_factor = fields.Number("low_freq_factor", 1e-3, 1e6);
    rope.high_frequency_factor = fields.Number("high_freq_factor", 1e-3, 1e6);
    if (rope.high_frequency_factor <= rope.low_frequency_factor) {
      fields.Fail("high_freq_factor", "is not above low_freq_factor");
    }
  }
  if (rope.kind == RopeKind::kYarn) {
    rope.beta_fast = fields.Number("beta_fast", 1e-3, 1e6, 32);
    rope.beta_slow = fields.Number("beta_slow", 1e-3, 1e6, 1);
    rope.truncate = fields.Bool("truncate", true);
    rope.attention_factor = YarnAttention(fields, rope.factor);
  }
}

// What both kinds of layers start from: the keys of the outer object.
struct Outer {
  double theta;
  double partial;
  int64_t original;
  int64_t head_dim;
  int64_t max_positions;
};

absl::StatusOr<RopeSettings> ParseOne(const Json& object, const Outer& outer) {
  absl::Status status;
  JsonFields fields(object, status);
  RopeSettings rope;
  const std::string name =
      fields.String("rope_type", fields.String("type", "default"));
  QUANT_ASSIGN_OR_RETURN(rope.kind, KindOf(name));
  rope.theta = fields.Number("rope_theta", 1 + 1e-6, kMaxTheta, outer.theta);
  const double partial =
      fields.Number("partial_rotary_factor", 1e-3, 1, outer.partial);
  rope.dims =
      static_cast<int64_t>(static_cast<double>(outer.head_dim) * partial);
  rope.original_positions = fields.Int("original_max_position_embeddings", 1,
                                       kMaxPositions, outer.original);
  if (rope.dims < 2 || rope.dims % 2 != 0) {
    fields.Fail("partial_rotary_factor",
                absl::StrCat("leaves ", rope.dims,
                             " dimensions of a head; an even number is "
                             "allowed"));
  }
  if (status.ok()) ParseScaling(fields, outer.max_positions, rope);
  if (!status.ok()) return status;
  return rope;
}

}  // namespace

absl::StatusOr<RopePair> ParseRope(const Json& config, int64_t head_dim,
                                   int64_t max_positions) {
  absl::Status status;
  JsonFields fields(config, status);
  const Outer outer{
      .theta = fields.Number("rope_theta", 1 + 1e-6, kMaxTheta, 10000),
      .partial = fields.Number("partial_rotary_factor", 1e-3, 1, 1),
      .original = fields.Int("original_max_position_embeddings", 1,
                             kMaxPositions, max_positions),
      .head_dim = head_dim,
      .max_positions = max_positions};
  const Json* object = fields.Object("rope_parameters");
  if (object == nullptr) object = fields.Object("rope_scaling");
  if (!status.ok()) return status;
  static const Json empty = Json::object();
  if (object == nullptr) object = &empty;

  JsonFields kinds(*object, status);
  const Json* full = kinds.Object("full_attention");
  const Json* sliding = kinds.Object("sliding_attention");
  if (!status.ok()) return status;
  if (full == nullptr) full = sliding == nullptr ? object : sliding;
  if (sliding == nullptr) sliding = full;
  RopePair pair;
  QUANT_ASSIGN_OR_RETURN(pair.full, ParseOne(*full, outer));
  QUANT_ASSIGN_OR_RETURN(pair.sliding, ParseOne(*sliding, outer));
  return pair;
}

}  // namespace quant

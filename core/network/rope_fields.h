// The rope part of config.json, in its old spelling (rope_theta, rope_scaling)
// and its new one (rope_parameters, also one per kind of layer).
#ifndef QUANT_CORE_NETWORK_ROPE_FIELDS_H_
#define QUANT_CORE_NETWORK_ROPE_FIELDS_H_

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "core/network/rope.h"

namespace quant {

struct RopePair {
  RopeSettings full;
  RopeSettings sliding;
};

// `config` is the whole object. Errors as ParseNetworkConfig.
absl::StatusOr<RopePair> ParseRope(const nlohmann::json& config,
                                   int64_t head_dim, int64_t max_positions);

}  // namespace quant

#endif  // QUANT_CORE_NETWORK_ROPE_FIELDS_H_

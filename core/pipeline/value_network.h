// The network of a model or an artifact, whatever it is stored as.
#ifndef QUANT_CORE_PIPELINE_VALUE_NETWORK_H_
#define QUANT_CORE_PIPELINE_VALUE_NETWORK_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/network/network.h"
#include "core/pipeline/value_model.h"

namespace quant {

struct ValueNetwork {
  std::unique_ptr<const ValueModel> model;
  std::unique_ptr<const Network> network;  // reads from it

  // Activations are rounded where the model says that loaders do, unless
  // `weights_only`. Errors of ValueModel::Open, ReadInputRoundings and
  // Network::Open, naming the path.
  static absl::StatusOr<ValueNetwork> Open(const std::string& path,
                                           bool weights_only = false);
};

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_VALUE_NETWORK_H_

#include "core/pipeline/value_network.h"

#include <utility>

#include "core/artifact/input_roundings.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {

absl::StatusOr<ValueNetwork> ValueNetwork::Open(const std::string& path,
                                                bool weights_only) {
  QUANT_ASSIGN_OR_RETURN(ValueModel model, ValueModel::Open(path));
  InputRoundings roundings;
  if (model.is_gguf()) {
    QUANT_RETURN_IF_ERROR(model.ShowAsCheckpoint());
  } else if (!weights_only) {
    auto found = ReadInputRoundings(model.stored());
    if (!found.ok()) return Annotate(found.status(), path);
    roundings = *std::move(found);
  }
  ValueNetwork opened;
  opened.model = std::make_unique<const ValueModel>(std::move(model));
  auto network = Network::Open(opened.model->values(), std::move(roundings));
  if (!network.ok()) return Annotate(network.status(), path);
  opened.network = *std::move(network);
  return opened;
}

}  // namespace quant

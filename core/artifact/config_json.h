// Edits of config.json: keys keep their order, nothing else changes.
#ifndef QUANT_CORE_ARTIFACT_CONFIG_JSON_H_
#define QUANT_CORE_ARTIFACT_CONFIG_JSON_H_

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quant {

using OrderedJson = nlohmann::ordered_json;

// The config as an object; an empty text is an empty object.
absl::StatusOr<OrderedJson> ParseConfigObject(absl::string_view text);
// Indented by 2, with a final newline.
std::string DumpConfig(const OrderedJson& config);
// Sets the compute type in the key that the config uses: "torch_dtype", or
// "dtype" in newer files.
void SetTorchDtype(OrderedJson& config, absl::string_view torch_dtype);

}  // namespace quant

#endif  // QUANT_CORE_ARTIFACT_CONFIG_JSON_H_

#include "core/artifact/config_json.h"

#include "core/base/error.h"

namespace quant {

absl::StatusOr<OrderedJson> ParseConfigObject(absl::string_view text) {
  if (text.empty()) return OrderedJson::object();
  OrderedJson config = OrderedJson::parse(text.begin(), text.end(), nullptr,
                                          /*allow_exceptions=*/false);
  if (!config.is_object()) {
    return ModelMalformed("config.json: is not a JSON object");
  }
  return config;
}

std::string DumpConfig(const OrderedJson& config) {
  return config.dump(2, ' ', /*ensure_ascii=*/false,
                     OrderedJson::error_handler_t::replace) +
         "\n";
}

void SetTorchDtype(OrderedJson& config, absl::string_view torch_dtype) {
  const bool newer =
      config.contains("dtype") && !config.contains("torch_dtype");
  config[newer ? "dtype" : "torch_dtype"] = std::string(torch_dtype);
}

}  // namespace quant

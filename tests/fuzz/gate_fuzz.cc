// A gate as people type it. What is accepted can be shown and typed again.
#include <cmath>

#include "core/recipe/recipe.h"
#include "tests/fuzz/targets.h"

namespace quant::fuzz {

void Gate(absl::string_view bytes) {
  const auto gate = ParseGate(bytes);
  if (!gate.ok()) {
    QUANT_FUZZ_CHECK(gate.status().code() ==
                     absl::StatusCode::kInvalidArgument);
    QUANT_FUZZ_CHECK(gate.status().message().size() < 4096);
    return;
  }
  // Shown with 15 digits, a number at the end of the range may round beyond it.
  if (std::abs(gate->threshold()) > 1e300) return;
  const std::string text = GateToString(*gate);
  const auto again = ParseGate(text);
  QUANT_FUZZ_CHECK(again.ok());
  QUANT_FUZZ_CHECK(GateToString(*again) == text);
}

}  // namespace quant::fuzz

QUANT_FUZZ_TARGET(quant::fuzz::Gate)

// What reader and writer of GGUF files hold keys and tensors to alike. Each
// function returns what is wrong, or nothing.
#ifndef QUANT_CORE_CONTAINER_GGUF_RULES_H_
#define QUANT_CORE_CONTAINER_GGUF_RULES_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/container/gguf.h"

namespace quant {

inline constexpr char kAlignmentKey[] = "general.alignment";

std::string GgufKeyDefect(absl::string_view key);
// Name, rank, dimensions and rows.
std::string GgufTensorDefect(const GgufTensor& tensor);
// Keys or tensor names that are there twice.
std::string GgufDuplicates(absl::Span<const GgufKv> kvs,
                           absl::Span<const GgufTensor> tensors);
std::string GgufAlignmentDefect(int64_t alignment);

// `value` rounded up to a multiple of `alignment`, a power of two; nothing on
// overflow.
std::optional<int64_t> AlignedUp(int64_t value, int64_t alignment);

// "tensor \"x\"", "key \"x\"", escaped and shortened for messages.
std::string GgufTensorLabel(absl::string_view name);
std::string GgufKeyLabel(absl::string_view key);

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_GGUF_RULES_H_

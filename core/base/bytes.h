// Byte counts as people write them.
#ifndef QUANT_CORE_BASE_BYTES_H_
#define QUANT_CORE_BASE_BYTES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quant {

// "4096", "4.6GB", "512 MiB": a number and kB, MB, GB, TB (powers of 1000) or
// KiB, MiB, GiB, TiB (powers of 1024), in any case.
absl::StatusOr<int64_t> ParseBytes(absl::string_view text);

// "2.20 GB": three digits, powers of 1000.
std::string FormatBytes(int64_t bytes);

}  // namespace quant

#endif  // QUANT_CORE_BASE_BYTES_H_

// Token ids as files hold them.
#ifndef QUANT_CORE_TOKENIZER_ID_FILES_H_
#define QUANT_CORE_TOKENIZER_ID_FILES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace quant {

// Of a .npy or .safetensors file (dataset.h), rows joined. INVALID_ARGUMENT for
// other types or shapes, and padding.
absl::StatusOr<std::vector<int32_t>> ReadIdFile(const std::string& path);

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_ID_FILES_H_

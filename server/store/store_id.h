// Ids of artifacts, and the check of ids that come from outside.
#ifndef QUANT_SERVER_STORE_STORE_ID_H_
#define QUANT_SERVER_STORE_STORE_ID_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace quant {

// 26 characters (48 bits of milliseconds, 80 random bits, base 32), ascending
// with time.
std::string NewStoreId(int64_t now_micros);
// 26 characters of [0-9a-z]: safe as a file name.
bool IsStoreId(absl::string_view id);

}  // namespace quant

#endif  // QUANT_SERVER_STORE_STORE_ID_H_

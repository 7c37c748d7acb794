// Addresses that only this machine can reach.
#ifndef QUANT_CORE_BASE_LOOPBACK_H_
#define QUANT_CORE_BASE_LOOPBACK_H_

#include "absl/strings/string_view.h"

namespace quant {

// Of "host:port" or "unix:path". Names other than "localhost" are not looked
// up: they may lead anywhere.
bool IsLoopback(absl::string_view address);

}  // namespace quant

#endif  // QUANT_CORE_BASE_LOOPBACK_H_

// Page tokens: opaque to clients, bound to the request they belong to, and
// signed, so that a made-up one is refused.
#ifndef QUANT_SERVER_API_PAGE_TOKEN_H_
#define QUANT_SERVER_API_PAGE_TOKEN_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quant {

// `filter` is any text that is equal for equal filters and method; `last_id` is
// the last id of the page.
std::string MakePageToken(absl::string_view key, absl::string_view filter,
                          absl::string_view last_id);

// The last id; empty for an empty token. INVALID_ARGUMENT PAGE_TOKEN_INVALID
// for a token that this server did not give for this filter.
absl::StatusOr<std::string> ParsePageToken(absl::string_view key,
                                           absl::string_view filter,
                                           absl::string_view token);

// The part of a filter that says whose things are listed: a token is good only
// for who sees the same.
std::string TenantText(const std::optional<std::string>& tenant);

// 0 = 50; more than 1000 = 1000; INVALID_ARGUMENT INVALID_SPEC when negative.
absl::StatusOr<int> PageSize(int32_t requested);

}  // namespace quant

#endif  // QUANT_SERVER_API_PAGE_TOKEN_H_

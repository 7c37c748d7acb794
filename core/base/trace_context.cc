#include "core/base/trace_context.h"

#include <algorithm>
#include <cstdint>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/error.h"

namespace quant {
namespace {

// "00-" + 32 + "-" + 16 + "-" + 2.
constexpr size_t kBytes = 55;

bool IsHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
}

bool IsZero(absl::string_view text) {
  return text.find_first_not_of('0') == absl::string_view::npos;
}

// Of the parts, in their places.
bool IsWellFormed(absl::string_view text) {
  if (text.size() < kBytes || text[2] != '-' || text[35] != '-' ||
      text[52] != '-') {
    return false;
  }
  const absl::string_view version = text.substr(0, 2);
  const bool whole = text.size() == kBytes;
  if (!IsHex(version) || version == "ff") return false;
  if (version == "00" ? !whole : !whole && text[kBytes] != '-') return false;
  const absl::string_view trace = text.substr(3, 32);
  const absl::string_view parent = text.substr(36, 16);
  return IsHex(trace) && !IsZero(trace) && IsHex(parent) && !IsZero(parent) &&
         IsHex(text.substr(53, 2));
}

// No secret hangs on these.
uint64_t NonZeroRandom() {
  thread_local std::mt19937_64 generator{
      (uint64_t{std::random_device()()} << 32) | std::random_device()()};
  uint64_t value = 0;
  while (value == 0) value = generator();
  return value;
}

}  // namespace

absl::StatusOr<TraceContext> ParseTraceparent(absl::string_view text) {
  if (!IsWellFormed(text)) {
    return InvalidSpec(
        "traceparent: is not 00-<32 hex digits>-<16 hex digits>-<2 hex "
        "digits>, lower case, ids not zero");
  }
  const char low = text[54];
  const int flags = low <= '9' ? low - '0' : low - 'a' + 10;
  return TraceContext{.trace_id = std::string(text.substr(3, 32)),
                      .parent_id = std::string(text.substr(36, 16)),
                      .sampled = (flags & 1) != 0};
}

TraceContext NewTrace() {
  return {.trace_id =
              absl::StrFormat("%016x%016x", NonZeroRandom(), NonZeroRandom()),
          .parent_id = absl::StrFormat("%016x", NonZeroRandom())};
}

std::string ToTraceparent(const TraceContext& trace) {
  return absl::StrCat("00-", trace.trace_id, "-", trace.parent_id,
                      trace.sampled ? "-01" : "-00");
}

}  // namespace quant

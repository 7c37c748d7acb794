// W3C Trace Context (https://www.w3.org/TR/trace-context/, level 1): which
// request something was done for, across programs. Here only `traceparent`:
// "00-<trace id>-<parent id>-<flags>".
#ifndef QUANT_CORE_BASE_TRACE_CONTEXT_H_
#define QUANT_CORE_BASE_TRACE_CONTEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quant {

struct TraceContext {
  std::string trace_id;   // 32 lower-case hex digits, not all zero
  std::string parent_id;  // 16; who asked
  bool sampled = false;   // by who asked
};

// INVALID_ARGUMENT for what is not exactly as the recommendation says. Of a
// later version, what version 00 has in common with it is read.
absl::StatusOr<TraceContext> ParseTraceparent(absl::string_view text);

// A trace that begins here, with random ids.
TraceContext NewTrace();

// Version 00. A TraceContext of the functions above becomes text that
// ParseTraceparent takes.
std::string ToTraceparent(const TraceContext& trace);

}  // namespace quant

#endif  // QUANT_CORE_BASE_TRACE_CONTEXT_H_

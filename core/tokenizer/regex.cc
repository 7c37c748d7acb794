#include "core/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/base/text_limits.h"
#include "core/container/json_events.h"
#include "core/tokenizer/regex_syntax.h"

namespace quant {
namespace {

// For what backtracks; JIT code has 32 KiB of the thread's own otherwise.
constexpr size_t kJitStackBytes = 8 << 20;

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};

using CodePtr = std::unique_ptr<pcre2_code, Freer<pcre2_code_free>>;
using CompilePtr =
    std::unique_ptr<pcre2_compile_context, Freer<pcre2_compile_context_free>>;
using MatchPtr =
    std::unique_ptr<pcre2_match_context, Freer<pcre2_match_context_free>>;
using DataPtr = std::unique_ptr<pcre2_match_data, Freer<pcre2_match_data_free>>;
using StackPtr = std::unique_ptr<pcre2_jit_stack, Freer<pcre2_jit_stack_free>>;

std::string PcreMessage(int code) {
  PCRE2_UCHAR buffer[160];
  if (pcre2_get_error_message(code, buffer, std::size(buffer)) < 0) {
    return absl::StrCat("error ", code);
  }
  return reinterpret_cast<const char*>(buffer);
}

// One per thread: no match runs inside another, and mapping one for each of
// many short texts would take longer than they do. Null where there is no JIT.
pcre2_jit_stack* JitStack() {
  static thread_local const StackPtr stack(
      pcre2_jit_stack_create(32 << 10, kJitStackBytes, nullptr));
  return stack.get();
}

size_t CharBytes(char lead) {
  const uint8_t byte = static_cast<uint8_t>(lead);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

}  // namespace

struct Regex::Impl {
  std::string pattern;  // as it was given
  CodePtr code;

  static absl::StatusOr<Regex> Compile(absl::string_view shown,
                                       absl::string_view pattern,
                                       uint32_t options);
};

struct RegexSearch::Impl {
  const Regex::Impl* regex;
  MatchPtr context;
  DataPtr data;

  void SetLimit(absl::string_view text) const;
  absl::Status Error(int code) const;
};

absl::StatusOr<Regex> Regex::Impl::Compile(absl::string_view shown,
                                           absl::string_view pattern,
                                           uint32_t options) {
  if (static_cast<int64_t>(pattern.size()) > kMaxPatternBytes) {
    return ModelMalformed(absl::StrCat("pattern of ", pattern.size(),
                                       " bytes; at most ", kMaxPatternBytes,
                                       " are allowed"));
  }
  CompilePtr context(pcre2_compile_context_create(nullptr));
  if (context == nullptr) return absl::ResourceExhaustedError("no memory");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  CodePtr code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()),
                             pattern.size(), PCRE2_UTF | options, &error,
                             &offset, context.get()));
  if (code == nullptr) {
    return MakeError(absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
                     absl::StrCat("pattern ", QuotedName(shown), ": ",
                                  PcreMessage(error), ", near byte ", offset));
  }
  // Without it matches are slow, but the same.
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  auto impl = std::make_unique<Impl>();
  impl->pattern = std::string(shown);
  impl->code = std::move(code);
  return Regex(std::move(impl));
}

Regex::Regex(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

absl::StatusOr<Regex> Regex::Compile(absl::string_view pattern) {
  QUANT_ASSIGN_OR_RETURN(const std::string translated, PcrePattern(pattern));
  return Impl::Compile(pattern, translated, PCRE2_UCP | PCRE2_MULTILINE);
}

absl::StatusOr<Regex> Regex::Literal(absl::string_view text) {
  if (text.empty()) return ModelMalformed("an empty text to look for");
  return Impl::Compile(text, text, PCRE2_LITERAL);
}

RegexSearch::RegexSearch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RegexSearch::RegexSearch(RegexSearch&&) noexcept = default;
RegexSearch& RegexSearch::operator=(RegexSearch&&) noexcept = default;
RegexSearch::~RegexSearch() = default;

absl::StatusOr<RegexSearch> RegexSearch::Make(const Regex& regex) {
  auto impl = std::make_unique<Impl>();
  impl->regex = regex.impl_.get();
  impl->context.reset(pcre2_match_context_create(nullptr));
  impl->data.reset(pcre2_match_data_create(1, nullptr));
  if (impl->context == nullptr || impl->data == nullptr) {
    return absl::ResourceExhaustedError("no memory for a match");
  }
  if (pcre2_jit_stack* stack = JitStack(); stack != nullptr) {
    pcre2_jit_stack_assign(impl->context.get(), nullptr, stack);
  }
  return RegexSearch(std::move(impl));
}

void RegexSearch::Impl::SetLimit(absl::string_view text) const {
  const int64_t size = static_cast<int64_t>(text.size());
  const int64_t steps = kMaxMatchSteps + kMaxMatchStepsPerByte * size;
  pcre2_set_match_limit(context.get(),
                        static_cast<uint32_t>(std::min<int64_t>(
                            steps, std::numeric_limits<int32_t>::max())));
}

absl::Status RegexSearch::Impl::Error(int code) const {
  return MakeError(
      absl::StatusCode::kResourceExhausted, Reason::kUnsupported,
      absl::StrCat("pattern ", QuotedName(regex->pattern), ": ",
                   PcreMessage(code), "; a match may take ", kMaxMatchSteps,
                   " steps, and ", kMaxMatchStepsPerByte,
                   " more per byte of the text"));
}

absl::Status RegexSearch::FindAll(
    absl::string_view text,
    absl::FunctionRef<void(int64_t begin, int64_t end)> found) const {
  impl_->SetLimit(text);
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(impl_->data.get());
  size_t at = 0;
  size_t last_end = absl::string_view::npos;
  while (at <= text.size()) {
    const int count = pcre2_match(impl_->regex->code.get(), subject,
                                  text.size(), at, PCRE2_NO_UTF_CHECK,
                                  impl_->data.get(), impl_->context.get());
    if (count == PCRE2_ERROR_NOMATCH) return absl::OkStatus();
    if (count < 0) return impl_->Error(count);
    const size_t begin = ends[0], end = ends[1];
    if (begin == end && end == last_end) {
      at = end + (end < text.size() ? CharBytes(text[end]) : 1);
      continue;
    }
    found(static_cast<int64_t>(begin), static_cast<int64_t>(end));
    at = last_end = end;
  }
  return absl::OkStatus();
}

}  // namespace quant

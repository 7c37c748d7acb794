#include "core/tokenizer/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/architecture/spm_model.h"
#include "core/base/error.h"

namespace quant {
namespace {

bool IsAscii(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

absl::Status Failed(utf8proc_ssize_t code) {
  return MakeError(absl::StatusCode::kInternal, Reason::kInternal,
                   absl::StrCat("normal form: ", utf8proc_errmsg(code)));
}

// By the first byte alone.
size_t SequenceBytes(char lead) {
  const uint8_t byte = static_cast<uint8_t>(lead);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

int ClassOf(utf8proc_int32_t c) {
  return utf8proc_get_property(c)->combining_class;
}

// Appends the full decomposition of one character.
absl::Status Decompose(char32_t c, int options,
                       std::vector<utf8proc_int32_t>& out) {
  // The longest of all has 18.
  utf8proc_int32_t parts[32];
  int boundary = 0;
  const utf8proc_ssize_t count = utf8proc_decompose_char(
      static_cast<utf8proc_int32_t>(c), parts, std::size(parts),
      static_cast<utf8proc_option_t>(options), &boundary);
  if (count < 0) return Failed(count);
  if (count > static_cast<utf8proc_ssize_t>(std::size(parts))) {
    return Failed(UTF8PROC_ERROR_OVERFLOW);
  }
  out.insert(out.end(), parts, parts + count);
  return absl::OkStatus();
}

// Marks after a character by their class, equal ones as they came. utf8proc
// would move them one by one, which takes forever for a long run of them.
void SortMarks(std::vector<utf8proc_int32_t>& text) {
  for (size_t begin = 0; begin < text.size();) {
    if (ClassOf(text[begin]) == 0) {
      ++begin;
      continue;
    }
    size_t end = begin + 1;
    while (end < text.size() && ClassOf(text[end]) != 0) ++end;
    std::stable_sort(text.begin() + begin, text.begin() + end,
                     [](utf8proc_int32_t a, utf8proc_int32_t b) {
                       return ClassOf(a) < ClassOf(b);
                     });
    begin = end;
  }
}

}  // namespace

CodePoint FirstCodePoint(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const auto tail = [&](size_t i) {
    return static_cast<char32_t>(byte(i) & 0x3F);
  };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(char32_t{lead} & 0x1F) << 6 | tail(1), 2};
  if (lead < 0xF0) {
    return {(char32_t{lead} & 0x0F) << 12 | tail(1) << 6 | tail(2), 3};
  }
  return {
      (char32_t{lead} & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3),
      4};
}

size_t LastCodePointAt(absl::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

void AppendUtf8(char32_t value, std::string& out) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t count =
      utf8proc_encode_char(static_cast<utf8proc_int32_t>(value), bytes);
  out.append(reinterpret_cast<const char*>(bytes), count);
}

std::optional<size_t> FirstInvalidUtf8(absl::string_view text) {
  if (IsUtf8(text)) return std::nullopt;
  size_t at = 0;
  while (at < text.size()) {
    const size_t length = std::min(SequenceBytes(text[at]), text.size() - at);
    if (!IsUtf8(text.substr(at, length))) break;
    at += length;
  }
  return at;
}

bool IsWhiteSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

absl::StatusOr<std::string> Normalize(absl::string_view text, NormalForm form) {
  if (IsAscii(text)) return std::string(text);
  const bool compat = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  const int options =
      UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0);
  std::vector<utf8proc_int32_t> parts;
  parts.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    text.remove_prefix(c.bytes);
    const absl::Status status = Decompose(c.value, options, parts);
    if (!status.ok()) return status;
  }
  SortMarks(parts);
  auto size = static_cast<utf8proc_ssize_t>(parts.size());
  if (compose) {
    size = utf8proc_normalize_utf32(
        parts.data(), size,
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    if (size < 0) return Failed(size);
  }
  std::string out;
  out.reserve(size);
  for (utf8proc_ssize_t i = 0; i < size; ++i) {
    AppendUtf8(static_cast<char32_t>(parts[i]), out);
  }
  return out;
}

}  // namespace quant

#include "core/base/bytes.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/error.h"

namespace quant {
namespace {

struct Unit {
  absl::string_view name;
  double factor;
};

constexpr Unit kUnits[] = {
    {"", 1},
    {"b", 1},
    {"kb", 1e3},
    {"mb", 1e6},
    {"gb", 1e9},
    {"tb", 1e12},
    {"kib", 1024.0},
    {"mib", 1048576.0},
    {"gib", 1073741824.0},
    {"tib", 1099511627776.0},
};

}  // namespace

absl::StatusOr<int64_t> ParseBytes(absl::string_view text) {
  const absl::string_view trimmed = absl::StripAsciiWhitespace(text);
  size_t digits = 0;
  while (digits < trimmed.size() &&
         (absl::ascii_isdigit(trimmed[digits]) || trimmed[digits] == '.')) {
    ++digits;
  }
  const std::string unit =
      absl::AsciiStrToLower(absl::StripAsciiWhitespace(trimmed.substr(digits)));
  double value = 0;
  if (digits > 0 && absl::SimpleAtod(trimmed.substr(0, digits), &value)) {
    for (const Unit& candidate : kUnits) {
      if (candidate.name != unit) continue;
      const double bytes = std::round(value * candidate.factor);
      if (bytes < 9.2e18) return static_cast<int64_t>(bytes);
    }
  }
  return InvalidSpec(absl::StrCat(
      "\"", absl::CHexEscape(text),
      "\" is not a byte count; write a number with kB, MB, GB, TB, KiB, MiB, "
      "GiB, TiB or nothing"));
}

std::string FormatBytes(int64_t bytes) {
  constexpr const char* kNames[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 999.5 && unit < 6) {
    value /= 1000;
    ++unit;
  }
  if (unit == 0) return absl::StrCat(bytes, " B");
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return absl::StrFormat("%.*f %s", decimals, value, kNames[unit]);
}

}  // namespace quant

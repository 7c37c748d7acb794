#include "core/base/names.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/error.h"

namespace quant {

int EditDistance(absl::string_view a, absl::string_view b) {
  const size_t columns = b.size() + 1;
  std::vector<int> before(columns), above(columns), row(columns);
  for (size_t j = 0; j < columns; ++j) above[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j < columns; ++j) {
      const char x = absl::ascii_tolower(a[i - 1]);
      const char y = absl::ascii_tolower(b[j - 1]);
      row[j] = std::min(
          {above[j] + 1, row[j - 1] + 1, above[j - 1] + (x == y ? 0 : 1)});
      if (i > 1 && j > 1 && x == absl::ascii_tolower(b[j - 2]) &&
          y == absl::ascii_tolower(a[i - 2])) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(above);
    above.swap(row);
  }
  return above[b.size()];
}

std::string NearestName(absl::string_view name,
                        const std::vector<std::string>& known) {
  // A longer name may be mistyped more often before it means something else.
  int best = static_cast<int>(std::max<size_t>(2, name.size() / 3)) + 1;
  std::string nearest;
  if (name.size() > 256) return nearest;
  for (const std::string& candidate : known) {
    const int distance = EditDistance(name, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

absl::Status UnknownNameError(absl::string_view kind, absl::string_view name,
                              const std::vector<std::string>& known,
                              absl::string_view field) {
  const std::string nearest = NearestName(name, known);
  return MakeError(
      absl::StatusCode::kInvalidArgument, Reason::kUnknownName,
      absl::StrCat("unknown ", kind, " \"",
                   absl::CHexEscape(name.substr(0, 256)), "\"; ",
                   nearest.empty()
                       ? ""
                       : absl::StrCat("did you mean \"", nearest, "\"? "),
                   "known: ", absl::StrJoin(known, ", ")),
      field);
}

}  // namespace quant

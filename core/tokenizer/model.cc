#include "core/tokenizer/model.h"

#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace quant {
namespace {

constexpr size_t kSignBytes = sizeof(kSpaceSign) - 1;

}  // namespace

bool MayCutBeforeSpaces(const std::vector<std::string>& tokens) {
  bool is_token = false;
  for (const std::string& token : tokens) {
    is_token = is_token || token == kSpaceSign;
    absl::string_view rest = token;
    while (absl::ConsumePrefix(&rest, kSpaceSign)) continue;
    if (absl::StrContains(rest, kSpaceSign)) return false;
  }
  return is_token;
}

size_t CutEnd(absl::string_view piece) {
  size_t at = 0;
  while (absl::StartsWith(piece.substr(at), kSpaceSign)) at += kSignBytes;
  const size_t next = piece.find(kSpaceSign, at);
  return next == absl::string_view::npos ? piece.size() : next;
}

}  // namespace quant

#include "core/container/gguf_split.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"

namespace quant {
namespace {

constexpr size_t kDigits = 5;
constexpr char kNumberKey[] = "split.no";
constexpr char kCountKey[] = "split.count";
constexpr char kTensorsKey[] = "split.tensors.count";

// Takes `ending` and the five digits before it off the end of `text`.
std::optional<int> TakeNumber(absl::string_view& text,
                              absl::string_view ending) {
  if (!absl::ConsumeSuffix(&text, ending) || text.size() < kDigits) {
    return std::nullopt;
  }
  const absl::string_view digits = text.substr(text.size() - kDigits);
  int number = 0;
  if (!std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit) ||
      !absl::SimpleAtoi(digits, &number)) {
    return std::nullopt;
  }
  text.remove_suffix(kDigits);
  return number;
}

}  // namespace

std::string SplitName::FileName() const {
  return absl::StrFormat("%s-%05d-of-%05d.gguf", prefix, number, count);
}

std::optional<SplitName> ParseSplitName(absl::string_view name) {
  const auto count = TakeNumber(name, ".gguf");
  const auto number = count ? TakeNumber(name, "-of-") : std::nullopt;
  if (!number || !absl::ConsumeSuffix(&name, "-")) return std::nullopt;
  if (*number < 1 || *number > *count) return std::nullopt;
  return SplitName{
      .prefix = std::string(name), .number = *number, .count = *count};
}

absl::StatusOr<SplitKeys> ReadSplitKeys(absl::Span<const GgufKv> kvs) {
  SplitKeys keys;
  QUANT_ASSIGN_OR_RETURN(const uint16_t* const count,
                         FindGguf<uint16_t>(kvs, kCountKey));
  if (count == nullptr || *count <= 1) return keys;
  QUANT_ASSIGN_OR_RETURN(keys.number, GetGguf<uint16_t>(kvs, kNumberKey));
  QUANT_ASSIGN_OR_RETURN(const int32_t* const tensors,
                         FindGguf<int32_t>(kvs, kTensorsKey));
  keys.count = *count;
  if (tensors != nullptr) keys.tensors = *tensors;
  if (keys.count > kMaxShardsPerModel || keys.number >= keys.count) {
    return ModelMalformed(absl::StrCat("is file ", keys.number, " (from 0) of ",
                                       keys.count, " by its keys; at most ",
                                       kMaxShardsPerModel, " files are read"));
  }
  return keys;
}

bool IsSplitKey(absl::string_view key) {
  return key == kNumberKey || key == kCountKey || key == kTensorsKey;
}

absl::StatusOr<std::string> FindGgufFile(const std::string& directory,
                                         absl::Span<const DirEntry> entries) {
  constexpr size_t kNamed = 3;
  // One name per model: of a split one, the first file's.
  std::vector<std::string> models;
  for (const DirEntry& entry : entries) {
    if (!entry.is_regular || !absl::EndsWith(entry.name, ".gguf")) continue;
    std::string name = entry.name;
    if (auto split = ParseSplitName(name)) {
      split->number = 1;
      name = split->FileName();
    }
    if (std::find(models.begin(), models.end(), name) == models.end()) {
      models.push_back(std::move(name));
    }
    if (models.size() > kNamed) break;
  }
  if (models.empty()) return "";
  if (models.size() == 1) return models[0];
  const bool more = models.size() > kNamed;
  if (more) models.resize(kNamed);
  return MakeError(
      absl::StatusCode::kNotFound, Reason::kSourceMissing,
      absl::StrCat(directory, ": has several GGUF models (",
                   absl::StrJoin(models, ", ",
                                 [](std::string* out, const auto& name) {
                                   absl::StrAppend(out, QuotedName(name));
                                 }),
                   more ? ", ...)" : ")", "; name one of them"));
}

}  // namespace quant

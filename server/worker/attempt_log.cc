#include "server/worker/attempt_log.h"

#include <algorithm>
#include <vector>

#include "core/base/clock.h"

namespace quant {
namespace {

constexpr int64_t kProgressMicros = 30'000'000;
constexpr int kMaxLines = 1000;
constexpr int kMaxFields = 16;
constexpr size_t kMaxNameBytes = 64;
constexpr size_t kMaxValueBytes = 1024;

bool IsName(absl::string_view text) {
  return !text.empty() && text.size() <= kMaxNameBytes &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return c == '_' || (c >= 'a' && c <= 'z'); });
}

// What the server itself says of a line.
bool IsReserved(absl::string_view key) {
  for (const absl::string_view name :
       {"ts", "level", "event", "job", "attempt", "trace_id"}) {
    if (key == name) return true;
  }
  return false;
}

}  // namespace

void AttemptLog::Progress(const v1::Progress& progress) {
  const int64_t now = Clock::System().MonotonicMicros();
  if (progress.stage() != stage_) {
    stage_ = progress.stage().substr(0, kMaxNameBytes);
    last_progress_ = now;
    if (++lines_ > kMaxLines) return;
    writer_.Note(LogLevel::kInfo, "stage", {{"stage", stage_}});
    return;
  }
  if (now - last_progress_ < kProgressMicros) return;
  last_progress_ = now;
  writer_.Note(LogLevel::kInfo, "progress",
               {{"stage", stage_},
                {"fraction", progress.fraction()},
                {"tensors_done", progress.tensors_done()},
                {"tensors_total", progress.tensors_total()},
                {"bytes_done", progress.bytes_done()},
                {"bytes_total", progress.bytes_total()}});
}

void AttemptLog::Line(const worker::v1::LogLine& line) {
  if (++lines_ > kMaxLines || !IsName(line.event())) return;
  std::vector<LogField> fields = {{"from", "worker"}};
  for (const auto& [key, value] : line.fields()) {
    if (fields.size() > kMaxFields) break;
    if (!IsName(key) || IsReserved(key)) continue;
    fields.emplace_back(key, absl::string_view(value).substr(
                                 0, kMaxValueBytes));
  }
  writer_.Note(line.warning() ? LogLevel::kWarning : LogLevel::kInfo,
               line.event(), fields);
}

void AttemptLog::Stopping(absl::string_view why) {
  writer_.Note(LogLevel::kInfo, "stopping", {{"why", why}});
}

}  // namespace quant

// Structured logs on stderr: one event per line, as a JSON object or as text.
// Values are escaped, so that no value can forge a line or reach a terminal.
// Logging never fails and never stops the process: a closed stderr is ignored.
#ifndef QUANT_SERVER_TELEMETRY_LOG_H_
#define QUANT_SERVER_TELEMETRY_LOG_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <variant>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quant {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

// A key and its value. Views: they must live until Log returns.
class LogField {
 public:
  LogField(absl::string_view key, absl::string_view value)
      : key_(key), value_(value) {}
  LogField(absl::string_view key, const std::string& value)
      : key_(key), value_(absl::string_view(value)) {}
  LogField(absl::string_view key, const char* value)
      : key_(key), value_(absl::string_view(value)) {}
  LogField(absl::string_view key, bool value) : key_(key), value_(value) {}
  LogField(absl::string_view key, double value) : key_(key), value_(value) {}
  template <typename Integer,
            typename = std::enable_if_t<std::is_integral_v<Integer> &&
                                        !std::is_same_v<Integer, bool>>>
  LogField(absl::string_view key, Integer value)
      : key_(key), value_(static_cast<int64_t>(value)) {}

  using Value = std::variant<absl::string_view, int64_t, double, bool>;
  absl::string_view key() const { return key_; }
  const Value& value() const { return value_; }

 private:
  absl::string_view key_;
  Value value_;
};

// Also ignores SIGPIPE, for the whole process. Before it is called, text from
// kInfo upwards is written. Call before other threads start.
void InitLogging(LogFormat format, LogLevel least = LogLevel::kInfo);

// At any time.
void SetLogFormat(LogFormat format);

// Writes {"ts", "level", "event", fields...}. `event` is a constant like
// "attempt_started"; human words go into the field "msg".
void Log(LogLevel level, absl::string_view event,
         absl::Span<const LogField> fields);
inline void Log(LogLevel level, absl::string_view event,
                std::initializer_list<LogField> fields = {}) {
  Log(level, event, absl::MakeConstSpan(fields.begin(), fields.size()));
}

// The line that Log writes, without the newline. `time_micros` since the epoch.
std::string FormatLogLine(LogFormat format, int64_t time_micros, LogLevel level,
                          absl::string_view event,
                          absl::Span<const LogField> fields);

}  // namespace quant

#endif  // QUANT_SERVER_TELEMETRY_LOG_H_

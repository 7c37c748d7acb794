#include "server/telemetry/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <csignal>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/clock.h"

namespace quant {
namespace {

using Json = nlohmann::ordered_json;

absl::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "info";
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

// RFC 3339 in UTC, microseconds.
std::string Timestamp(int64_t micros) {
  const std::time_t seconds = micros / 1'000'000;
  std::tm parts;
  ::gmtime_r(&seconds, &parts);
  return absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02d.%06dZ",
                         parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                         parts.tm_hour, parts.tm_min, parts.tm_sec,
                         micros % 1'000'000);
}

Json ToJson(const LogField::Value& value) {
  if (const auto* text = std::get_if<absl::string_view>(&value)) {
    return std::string(*text);
  }
  if (const auto* number = std::get_if<int64_t>(&value)) return *number;
  if (const auto* real = std::get_if<double>(&value)) return *real;
  return std::get<bool>(value);
}

// Quoted unless it is one plain word, so that fields can be told apart.
std::string ToText(const LogField::Value& value) {
  const auto* text = std::get_if<absl::string_view>(&value);
  if (text == nullptr) return ToJson(value).dump();
  bool plain = !text->empty();
  for (const char c : *text) {
    plain = plain && c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=';
  }
  if (plain) return std::string(*text);
  return absl::StrCat("\"", absl::CHexEscape(*text), "\"");
}

struct Logger {
  Logger() : out("quant", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    out.set_pattern("%v");
    out.set_level(spdlog::level::info);
    out.set_error_handler([](const std::string&) {});
  }
  spdlog::logger out;
  std::atomic<LogFormat> format = LogFormat::kText;
};

// Never destroyed: threads may log while the process exits.
Logger& GetLogger() {
  static Logger* logger = new Logger;
  return *logger;
}

}  // namespace

std::string FormatLogLine(LogFormat format, int64_t time_micros, LogLevel level,
                          absl::string_view event,
                          absl::Span<const LogField> fields) {
  if (format == LogFormat::kText) {
    std::string line =
        absl::StrCat(Timestamp(time_micros), " ", LevelName(level), " ", event);
    for (const LogField& field : fields) {
      absl::StrAppend(&line, " ", field.key(), "=", ToText(field.value()));
    }
    return line;
  }
  Json line;
  line["ts"] = Timestamp(time_micros);
  line["level"] = std::string(LevelName(level));
  line["event"] = std::string(event);
  for (const LogField& field : fields) {
    line[std::string(field.key())] = ToJson(field.value());
  }
  // Beyond JSON's own escapes, everything outside ASCII is escaped: no
  // terminal sequence survives, and bad UTF-8 becomes U+FFFD.
  return line.dump(-1, ' ', true, Json::error_handler_t::replace);
}

void InitLogging(LogFormat format, LogLevel least) {
  std::signal(SIGPIPE, SIG_IGN);
  GetLogger().format = format;
  GetLogger().out.set_level(ToSpdlog(least));
}

void SetLogFormat(LogFormat format) { GetLogger().format = format; }

void Log(LogLevel level, absl::string_view event,
         absl::Span<const LogField> fields) {
  Logger& logger = GetLogger();
  if (!logger.out.should_log(ToSpdlog(level))) return;
  const std::string line = FormatLogLine(
      logger.format, Clock::System().NowMicros(), level, event, fields);
  logger.out.log(ToSpdlog(level), spdlog::string_view_t(line));
}

}  // namespace quant

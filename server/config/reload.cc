#include "server/config/reload.h"

#include "server/config/schema.h"

namespace quant {
namespace {

using Texts = std::map<std::string, std::vector<std::string>>;

void CopyText(const Texts& from, const std::string& name, Texts& to) {
  const auto it = from.find(name);
  if (it == from.end()) {
    to.erase(name);
  } else {
    to[name] = it->second;
  }
}

std::vector<std::string> TextOf(const Texts& texts, const std::string& name) {
  const auto it = texts.find(name);
  return it == texts.end() ? std::vector<std::string>() : it->second;
}

}  // namespace

ConfigChanges TakeOver(const ServerConfig& next, ServerConfig& config) {
  ConfigChanges changes;
  for (const std::string& name : SettingNames()) {
    if (TextOf(next.given, name) == TextOf(config.given, name)) continue;
    if (FindSettingSchema(name)->reloadable) {
      changes.applied.push_back(name);
      CopyText(next.given, name, config.given);
    } else {
      changes.waiting.push_back(name);
    }
  }
  config.drain_timeout = next.drain_timeout;
  config.retention = next.retention;
  config.upload_ttl = next.upload_ttl;
  config.max_open_jobs = next.max_open_jobs;
  config.max_stored_bytes = next.max_stored_bytes;
  config.max_streams = next.max_streams;
  config.max_calls_per_second = next.max_calls_per_second;
  config.log_format = next.log_format;
  return changes;
}

}  // namespace quant

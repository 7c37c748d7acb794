#include "server/config/config_file.h"

#include <yaml-cpp/yaml.h>

#include "absl/strings/str_cat.h"
#include "core/base/file.h"
#include "core/base/limits.h"
#include "core/base/names.h"
#include "server/config/schema.h"

namespace quant {
namespace {

void ReadEntry(const std::string& path, const YAML::Node& key,
               const YAML::Node& value, ConfigFile& out) {
  const std::string where = absl::StrCat(path, ":", key.Mark().line + 1);
  if (!key.IsScalar()) {
    out.problems.push_back(absl::StrCat(where, ": a key must be a word"));
    return;
  }
  const std::string name = key.Scalar();
  if (!FindSettingSchema(name)) {
    const absl::Status unknown =
        UnknownNameError("setting", name, SettingNames());
    out.problems.push_back(absl::StrCat(where, ": ", unknown.message()));
    return;
  }
  SettingValue setting{.origin = absl::StrCat(where, ": ", name)};
  if (value.IsScalar()) setting.values.push_back(value.Scalar());
  bool good = value.IsScalar() || value.IsSequence();
  if (value.IsSequence()) {
    for (const YAML::Node& item : value) {
      good = good && item.IsScalar();
      if (item.IsScalar()) setting.values.push_back(item.Scalar());
    }
  }
  if (!good || out.values.count(name) > 0) {
    out.problems.push_back(absl::StrCat(
        setting.origin, good ? ": given twice" : ": want a value or a list"));
    return;
  }
  out.values[name] = std::move(setting);
}

}  // namespace

ConfigFile LoadConfigFile(const std::string& path) {
  ConfigFile out;
  const auto text = ReadFile(path, kMaxConfigBytes);
  if (!text.ok()) {
    out.problems.push_back(absl::StrCat("--config: ", text.status().message()));
    return out;
  }
  try {
    const YAML::Node root = YAML::Load(*text);
    if (!root.IsNull() && !root.IsMap()) {
      out.problems.push_back(
          absl::StrCat(path, ": want a mapping of settings to values"));
      return out;
    }
    for (const auto& entry : root) {
      ReadEntry(path, entry.first, entry.second, out);
    }
  } catch (const YAML::Exception& error) {
    out.problems.push_back(absl::StrCat(path, ": ", error.what()));
  }
  return out;
}

}  // namespace quant

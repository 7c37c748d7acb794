#include "server/config/flags.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "core/base/error.h"
#include "core/base/names.h"
#include "core/base/version.h"
#include "server/config/config_file.h"
#include "server/config/schema.h"
#include "server/config/settings.h"

namespace quant {
namespace {

constexpr char kDescription[] =
    "quantd: quantizes language models, through gRPC.";
constexpr char kFooter[] =
    "Every setting is also an environment variable (--data-dir is "
    "QUANT_DATA_DIR) and\na key of the YAML file given by --config (data-dir: "
    "...). Flags win over the\nenvironment, the environment over the file. On "
    "SIGHUP what can change is taken over\nfrom a changed file; the log says "
    "what waits for a restart.\n\n"
    "quantd doctor, quantd backup and quantd restore look after the data, "
    "quantd "
    "token\nmakes credentials; see their --help.";

// What each flag was given, in order.
struct RawFlags {
  std::map<std::string, std::vector<std::string>> values;
  std::map<std::string, bool> switches;
  std::string config_file;
};

void Declare(CLI::App& app, RawFlags& raw) {
  app.footer(kFooter);
  app.set_version_flag("--version", absl::StrCat("quantd ", kVersion));
  app.add_option("--config", raw.config_file, "YAML file of these settings");
  for (const Setting& setting : Settings()) {
    const std::string flag = absl::StrCat("--", setting.name);
    CLI::Option* option = nullptr;
    if (setting.kind == Setting::Kind::kSwitch) {
      option = app.add_flag(flag, raw.switches[setting.name], setting.help);
    } else {
      option = app.add_option(flag, raw.values[setting.name], setting.help);
      option->allow_extra_args(false)->type_name("");
    }
    if (setting.hidden) option->group("");
  }
  app.allow_extras();
}

std::string EnvironmentName(const std::string& setting) {
  return absl::StrCat("QUANT_", absl::AsciiStrToUpper(absl::StrReplaceAll(
                                    setting, {{"-", "_"}})));
}

// Collects the values of all settings by precedence, then applies them.
class Collector {
 public:
  Collector(const CLI::App& app, RawFlags raw, const Environment& environment)
      : app_(app), raw_(std::move(raw)), environment_(environment) {}

  std::vector<std::string> Apply(ServerConfig& config) {
    ReportExtras();
    ReadConfigFile();
    for (const Setting& setting : Settings()) {
      const std::optional<SettingValue> value = Find(setting);
      if (!value) continue;
      config.given[setting.name] = value->values;
      const absl::Status status = Check(setting, *value, config);
      if (!status.ok()) {
        problems_.push_back(
            absl::StrCat(value->origin, ": ", status.message()));
      }
    }
    for (std::string& problem : CheckTogether(config)) {
      problems_.push_back(std::move(problem));
    }
    return std::move(problems_);
  }

 private:
  void ReportExtras() {
    std::vector<std::string> known = SettingNames();
    known.insert(known.end(), {"config", "help", "version"});
    for (const std::string& extra : app_.remaining()) {
      const std::string name = std::string(absl::StripPrefix(extra, "--"))
                                   .substr(0, extra.find('='));
      const std::string nearest = NearestName(name, known);
      problems_.push_back(absl::StrCat(
          extra, ": unknown argument",
          nearest.empty() ? "" : absl::StrCat("; did you mean --", nearest)));
    }
  }

  void ReadConfigFile() {
    std::string path = raw_.config_file;
    if (path.empty()) path = environment_("QUANT_CONFIG").value_or("");
    if (path.empty()) return;
    ConfigFile file = LoadConfigFile(path);
    file_ = std::move(file.values);
    problems_.insert(problems_.end(), file.problems.begin(),
                     file.problems.end());
  }

  std::optional<SettingValue> Find(const Setting& setting) const {
    const std::string flag = absl::StrCat("--", setting.name);
    if (app_.count(flag) > 0) {
      if (setting.kind == Setting::Kind::kSwitch) {
        return SettingValue{{raw_.switches.at(setting.name) ? "true" : "false"},
                            flag};
      }
      return SettingValue{raw_.values.at(setting.name), flag};
    }
    const std::string variable = EnvironmentName(setting.name);
    if (auto value = environment_(variable); value && !value->empty()) {
      if (setting.kind != Setting::Kind::kList) {
        return SettingValue{{*value}, variable};
      }
      return SettingValue{absl::StrSplit(*value, ':', absl::SkipEmpty()),
                          variable};
    }
    const auto in_file = file_.find(setting.name);
    if (in_file == file_.end()) return std::nullopt;
    return in_file->second;
  }

  static absl::Status Check(const Setting& setting, const SettingValue& value,
                            ServerConfig& config) {
    if (setting.kind != Setting::Kind::kList && value.values.size() != 1) {
      return InvalidSpec(
          absl::StrCat("given ", value.values.size(), " times; want once"));
    }
    return setting.apply(config, value.values);
  }

  const CLI::App& app_;
  const RawFlags raw_;
  const Environment& environment_;
  std::map<std::string, SettingValue> file_;
  std::vector<std::string> problems_;
};

}  // namespace

Environment ProcessEnvironment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return std::string(value);
  };
}

absl::StatusOr<CommandLine> ParseCommandLine(
    const std::vector<std::string>& arguments, const Environment& environment) {
  CLI::App app(kDescription, "quantd");
  RawFlags raw;
  Declare(app, raw);
  CommandLine line;
  line.config.log_format =
      ::isatty(STDERR_FILENO) ? LogFormat::kText : LogFormat::kJson;
  try {
    // CLI11 takes its vector from the back.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    line.print = app.help();
    return line;
  } catch (const CLI::CallForVersion&) {
    line.print = absl::StrCat("quantd ", kVersion, "\n");
    return line;
  } catch (const CLI::Error& error) {
    return InvalidSpec(error.what());
  }
  const std::vector<std::string> problems =
      Collector(app, std::move(raw), environment).Apply(line.config);
  if (!problems.empty()) return InvalidSpec(absl::StrJoin(problems, "\n"));
  return line;
}

}  // namespace quant

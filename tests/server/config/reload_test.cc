#include "server/config/reload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/config/flags.h"
#include "server/config/schema.h"
#include "server/config/settings.h"

namespace quant {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

ServerConfig Parse(const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {"--data-dir=/tmp"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const auto line = ParseCommandLine(
      all, [](const std::string&) { return std::nullopt; });
  EXPECT_TRUE(line.ok()) << line.status();
  return line.ok() ? line->config : ServerConfig();
}

// The description of the file and the table of flags are one list.
TEST(Schema, HasEverySettingOnce) {
  std::vector<std::string> flags;
  for (const Setting& setting : Settings()) {
    flags.push_back(setting.name);
    const auto schema = FindSettingSchema(setting.name);
    ASSERT_TRUE(schema.has_value()) << setting.name;
    EXPECT_EQ(schema->list, setting.kind == Setting::Kind::kList)
        << setting.name;
  }
  EXPECT_THAT(SettingNames(), testing::UnorderedElementsAreArray(flags));
  EXPECT_FALSE(FindSettingSchema("data_dir").has_value());
}

TEST(Reload, TakesWhatIsReloadableAndNamesTheRest) {
  ServerConfig config = Parse({"--retention=1h", "--workers=1"});
  const ServerConfig next =
      Parse({"--retention=2h", "--workers=3", "--max-streams=7",
             "--listen=127.0.0.1:1"});
  ConfigChanges changes = TakeOver(next, config);
  EXPECT_THAT(changes.applied, ElementsAre("retention", "max-streams"));
  EXPECT_THAT(changes.waiting, ElementsAre("listen", "workers"));
  EXPECT_EQ(config.retention, absl::Hours(2));
  EXPECT_EQ(config.max_streams, 7);
  EXPECT_EQ(config.workers, 1);
  // The rest waits until it is there, or no longer wanted.
  changes = TakeOver(next, config);
  EXPECT_THAT(changes.applied, IsEmpty());
  EXPECT_THAT(changes.waiting, ElementsAre("listen", "workers"));
  changes = TakeOver(Parse({"--workers=1"}), config);
  EXPECT_THAT(changes.applied, ElementsAre("retention", "max-streams"));
  EXPECT_THAT(changes.waiting, IsEmpty());
  EXPECT_EQ(config.retention, absl::ZeroDuration()) << "the default is back";
}

// Each setting that says so, by a value that is not its default.
TEST(Reload, EveryReloadableSettingLands) {
  const std::map<std::string, std::string> values = {
      {"drain-timeout", "17s"},     {"retention", "17h"},
      {"upload-ttl", "17h"},        {"max-open-jobs", "17"},
      {"max-stored-bytes", "17GB"}, {"max-streams", "17"},
      {"max-calls-per-second", "17"}, {"log-format", "json"}};
  for (const std::string& name : SettingNames()) {
    if (!FindSettingSchema(name)->reloadable) continue;
    ASSERT_TRUE(values.count(name) > 0) << name << ": give it a value here";
  }
  std::vector<std::string> arguments;
  for (const auto& [name, value] : values) {
    EXPECT_TRUE(FindSettingSchema(name)->reloadable) << name;
    arguments.push_back("--" + name + "=" + value);
  }
  ServerConfig config = Parse({"--log-format=text"});
  TakeOver(Parse(arguments), config);
  EXPECT_EQ(config.drain_timeout, absl::Seconds(17));
  EXPECT_EQ(config.retention, absl::Hours(17));
  EXPECT_EQ(config.upload_ttl, absl::Hours(17));
  EXPECT_EQ(config.max_open_jobs, 17);
  EXPECT_EQ(config.max_stored_bytes, 17'000'000'000);
  EXPECT_EQ(config.max_streams, 17);
  EXPECT_EQ(config.max_calls_per_second, 17);
  EXPECT_EQ(config.log_format, LogFormat::kJson);
}

}  // namespace
}  // namespace quant

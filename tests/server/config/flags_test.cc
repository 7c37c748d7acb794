#include "server/config/flags.h"

#include <fstream>
#include <map>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/loopback.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class FlagsTest : public testing::Test {
 protected:
  absl::StatusOr<CommandLine> Parse(std::vector<std::string> arguments) {
    return ParseCommandLine(
        arguments,
        [this](const std::string& name) -> std::optional<std::string> {
          const auto found = environment_.find(name);
          if (found == environment_.end()) return std::nullopt;
          return found->second;
        });
  }

  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = JoinPath(testing::TempDir(), name);
    std::ofstream(path) << text;
    return path;
  }

  std::map<std::string, std::string> environment_;
};

TEST_F(FlagsTest, DefaultsAreLoopbackAndDurable) {
  const auto line = Parse({"--data-dir", "/tmp"});
  ASSERT_TRUE(line.ok()) << line.status();
  const ServerConfig& config = line->config;
  EXPECT_EQ(config.listen, "127.0.0.1:50051");
  EXPECT_EQ(config.http_listen, "127.0.0.1:8080");
  EXPECT_EQ(config.workers, 1);
  EXPECT_GE(config.threads, 1);
  EXPECT_GT(config.memory_limit_bytes, 0);
  EXPECT_EQ(config.drain_timeout, absl::Seconds(30));
  EXPECT_TRUE(config.sync);
  EXPECT_FALSE(config.tls());
}

TEST_F(FlagsTest, EveryFlagLands) {
  const std::string pem = Write("key.pem", "x");
  const auto line = Parse({"--listen=0.0.0.0:0",
                           "--http-listen",
                           "127.0.0.1:0",
                           "--data-dir",
                           "/tmp/d",
                           "--model-root",
                           "/tmp",
                           "--model-root",
                           "/usr",
                           "--workers",
                           "3",
                           "--threads=7",
                           "--memory-limit",
                           "2GiB",
                           "--drain-timeout",
                           "1m30s",
                           "--retention",
                           "720h",
                           "--upload-ttl",
                           "0",
                           "--tls-cert",
                           pem,
                           "--tls-key",
                           pem,
                           "--tls-client-ca",
                           pem,
                           "--log-format",
                           "json",
                           "--no-fsync"});
  ASSERT_TRUE(line.ok()) << line.status();
  const ServerConfig& config = line->config;
  EXPECT_EQ(config.listen, "0.0.0.0:0");
  EXPECT_THAT(config.model_roots, ElementsAre("/tmp", "/usr"));
  EXPECT_EQ(config.workers, 3);
  EXPECT_EQ(config.threads, 7);
  EXPECT_EQ(config.memory_limit_bytes, int64_t{2} << 30);
  EXPECT_EQ(config.drain_timeout, absl::Seconds(90));
  EXPECT_EQ(config.retention, absl::Hours(720));
  EXPECT_EQ(config.upload_ttl, absl::ZeroDuration());
  EXPECT_EQ(config.tls_client_ca, pem);
  EXPECT_EQ(config.log_format, LogFormat::kJson);
  EXPECT_FALSE(config.sync);
}

TEST_F(FlagsTest, FlagsOverrideEnvironmentOverridesFile) {
  const std::string file = Write("precedence.yaml",
                                 "workers: 2\nthreads: 3\n"
                                 "drain-timeout: 5m\nmodel-root: [/tmp]\n"
                                 "insecure: true\ndata-dir: /tmp/from-file\n");
  environment_ = {{"QUANT_WORKERS", "4"},
                  {"QUANT_THREADS", "5"},
                  {"QUANT_MODEL_ROOT", "/usr:/tmp"},
                  {"QUANT_CONFIG", file}};
  const auto line = Parse({"--workers", "6"});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->config.workers, 6);
  EXPECT_EQ(line->config.threads, 5);
  EXPECT_EQ(line->config.drain_timeout, absl::Minutes(5));
  EXPECT_THAT(line->config.model_roots, ElementsAre("/usr", "/tmp"));
  EXPECT_TRUE(line->config.insecure);
  EXPECT_EQ(line->config.data_dir, "/tmp/from-file");
}

TEST_F(FlagsTest, AllProblemsAreReportedAtOnceWithTheirOrigin) {
  const std::string file =
      Write("bad.yaml", "\nworkrs: 2\ndrain-timeout: soon\nlisten: [a, b]\n");
  environment_ = {{"QUANT_THREADS", "many"}};
  const auto line =
      Parse({"--config", file, "--workers", "-1", "--memory-limit", "12XB",
             "--model-root", "/no/such", "--log-format", "xml", "--tls-cert",
             "/no/cert", "--dta-dir", "x"});
  ASSERT_EQ(line.status().code(), absl::StatusCode::kInvalidArgument);
  const std::string message(line.status().message());
  for (const char* part :
       {"bad.yaml:2: unknown setting \"workrs\"; did you mean \"workers\"",
        "bad.yaml:3: drain-timeout: \"soon\"", "bad.yaml:4: listen: given 2",
        "QUANT_THREADS: \"many\"", "--workers: \"-1\"",
        "--memory-limit: ", "--model-root: \"/no/such\"",
        "--log-format: \"xml\"", "--tls-cert: can't be read",
        "--dta-dir: unknown argument; did you mean --data-dir",
        "--data-dir: is required"}) {
    EXPECT_THAT(message, HasSubstr(part));
  }
}

TEST_F(FlagsTest, PlaintextOffLoopbackNeedsInsecure) {
  const auto refused = Parse({"--data-dir", "/tmp", "--listen", "0.0.0.0:1"});
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("--insecure when the network is trusted"));
  EXPECT_TRUE(
      Parse({"--data-dir", "/tmp", "--listen", "0.0.0.0:1", "--insecure"})
          .ok());
  EXPECT_TRUE(Parse({"--data-dir", "/tmp", "--listen", "localhost:1"}).ok());
  EXPECT_TRUE(Parse({"--data-dir", "/tmp", "--listen", "[::1]:1"}).ok());
  EXPECT_TRUE(Parse({"--data-dir", "/tmp", "--listen", "unix:/tmp/s"}).ok());
}

TEST_F(FlagsTest, TlsPartsBelongTogether) {
  const std::string pem = Write("cert.pem", "x");
  const auto line = Parse({"--data-dir", "/tmp", "--tls-cert", pem});
  EXPECT_THAT(std::string(line.status().message()),
              HasSubstr("one without the other"));
  const auto ca = Parse({"--data-dir", "/tmp", "--tls-client-ca", pem});
  EXPECT_THAT(std::string(ca.status().message()),
              HasSubstr("--tls-client-ca: needs"));
}

TEST_F(FlagsTest, RepeatedValuesAndMissingValuesAreErrors) {
  EXPECT_THAT(
      std::string(
          Parse({"--data-dir", "a", "--data-dir", "b"}).status().message()),
      HasSubstr("given 2 times"));
  EXPECT_THAT(std::string(Parse({"--data-dir"}).status().message()),
              HasSubstr("--data-dir"));
}

TEST_F(FlagsTest, UnreadableOrForeignConfigFiles) {
  EXPECT_THAT(std::string(Parse({"--data-dir", "/tmp", "--config", "/no/file"})
                              .status()
                              .message()),
              HasSubstr("--config: "));
  const std::string list = Write("list.yaml", "- a\n- b\n");
  EXPECT_THAT(
      std::string(
          Parse({"--data-dir", "/tmp", "--config", list}).status().message()),
      HasSubstr("want a mapping"));
  const std::string broken = Write("broken.yaml", "workers: [1\n");
  EXPECT_FALSE(Parse({"--data-dir", "/tmp", "--config", broken}).ok());
  const std::string twice = Write("twice.yaml", "workers: 1\nworkers: 2\n");
  EXPECT_FALSE(Parse({"--data-dir", "/tmp", "--config", twice}).ok());
  const std::string empty = Write("empty.yaml", "");
  EXPECT_TRUE(Parse({"--data-dir", "/tmp", "--config", empty}).ok());
}

TEST_F(FlagsTest, Periods) {
  const auto defaults = Parse({"--data-dir", "/tmp"});
  EXPECT_EQ(defaults->config.retention, absl::ZeroDuration());
  EXPECT_EQ(defaults->config.upload_ttl, absl::Hours(168));
  for (const char* flag : {"--retention", "--upload-ttl"}) {
    for (const char* good : {"0", "1m", "36h30m", "87600h"}) {
      EXPECT_TRUE(Parse({"--data-dir", "/tmp", flag, good}).ok()) << good;
    }
    for (const char* bad : {"", "30", "-1h", "59s", "87601h", "30d", "inf"}) {
      const auto line = Parse({"--data-dir", "/tmp", flag, bad});
      EXPECT_THAT(std::string(line.status().message()), HasSubstr(flag)) << bad;
    }
  }
}

TEST_F(FlagsTest, HelpAndVersion) {
  const auto help = Parse({"--help"});
  ASSERT_TRUE(help.ok());
  ASSERT_TRUE(help->print.has_value());
  for (const char* flag :
       {"--listen", "--data-dir", "--model-root", "--drain-timeout",
        "--tls-client-ca", "QUANT_DATA_DIR"}) {
    EXPECT_THAT(*help->print, HasSubstr(flag));
  }
  EXPECT_THAT(*help->print, Not(HasSubstr("no-fsync")));
  const auto version = Parse({"--version"});
  ASSERT_TRUE(version.ok() && version->print.has_value());
  EXPECT_THAT(*version->print, HasSubstr("quantd "));
}

TEST(LoopbackTest, OnlyThisMachine) {
  for (const char* address :
       {"127.0.0.1:1", "127.8.9.1:1", "localhost:1", "[::1]:1", "unix:/x"}) {
    EXPECT_TRUE(IsLoopback(address)) << address;
  }
  for (const char* address : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "host:1",
                              "127.0.0.1.evil.example:1", "", "1270001"}) {
    EXPECT_FALSE(IsLoopback(address)) << address;
  }
}

}  // namespace
}  // namespace quant

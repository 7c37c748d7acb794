#include "server/telemetry/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quant {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Sends raw bytes, reads until the server closes.
std::string Exchange(int port, const std::string& request) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(
      ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::send(fd, request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  ssize_t n;
  while ((n = ::recv(fd, buffer, sizeof buffer, 0)) > 0)
    answer.append(buffer, n);
  ::close(fd);
  return answer;
}

std::string Get(int port, const std::string& path,
                const std::string& method = "GET") {
  return Exchange(port, absl::StrCat(method, " ", path,
                                     " HTTP/1.1\r\nHost: localhost\r\n\r\n"));
}

class HttpServerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto server = HttpServer::Start(
        "127.0.0.1:0", {.metrics = [] { return std::string("a_total 1\n"); },
                        .live = [] { return true; },
                        .ready = [this] { return ready_.load(); }});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server);
    ASSERT_GT(server_->port(), 0);
  }
  std::atomic<bool> ready_{true};
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, ServesMetricsAndProbes) {
  const std::string metrics = Get(server_->port(), "/metrics");
  EXPECT_THAT(metrics, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(metrics, HasSubstr("text/plain; version=0.0.4"));
  EXPECT_THAT(metrics, EndsWith("\r\n\r\na_total 1\n"));
  EXPECT_THAT(Get(server_->port(), "/livez"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(Get(server_->port(), "/readyz"), EndsWith("ok\n"));
  ready_ = false;
  EXPECT_THAT(Get(server_->port(), "/readyz"), StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(Get(server_->port(), "/livez"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, ServesNothingElse) {
  for (const char* path :
       {"/", "/metrics/", "/etc/passwd", "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd", "/cgi-bin/x.cgi"}) {
    const std::string answer = Get(server_->port(), path);
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 4")) << path;
    EXPECT_THAT(answer, Not(HasSubstr("root:"))) << path;
  }
  EXPECT_THAT(Get(server_->port(), "/metrics", "POST"),
              StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(Get(server_->port(), "/livez", "PUT"),
              StartsWith("HTTP/1.1 405"));
}

TEST_F(HttpServerTest, HeadHasNoBody) {
  const std::string answer = Get(server_->port(), "/metrics", "HEAD");
  EXPECT_THAT(answer, HasSubstr("Content-Length: 10\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST_F(HttpServerTest, RefusesHugeAndMalformedRequests) {
  EXPECT_THAT(Get(server_->port(), "/" + std::string(100'000, 'a')),
              Not(StartsWith("HTTP/1.1 200")));
  EXPECT_THAT(Exchange(server_->port(), "nonsense\r\n\r\n"),
              Not(StartsWith("HTTP/1.1 200")));
  EXPECT_THAT(Get(server_->port(), "/livez"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, AnswersManyAtOnce) {
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) {
        if (Get(server_->port(), "/livez").rfind("HTTP/1.1 200", 0) == 0)
          ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 80);
}

TEST_F(HttpServerTest, TakenPortIsAnError) {
  const auto second = HttpServer::Start(
      absl::StrCat("127.0.0.1:", server_->port()), HttpServer::Handlers());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
}

TEST(HttpServerAddressTest, BadAddressesAreRefused) {
  for (const char* address : {"", "8080", ":8080", "127.0.0.1:", "h:-1",
                              "127.0.0.1:65536", "127.0.0.1:1,0.0.0.0:2"}) {
    EXPECT_EQ(HttpServer::Start(address, {}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << address;
  }
}

}  // namespace
}  // namespace quant

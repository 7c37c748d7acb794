#include "server/auth/authenticator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"

namespace quant {
namespace {

class AuthenticatorTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = (std::filesystem::path(testing::TempDir()) /
             ("auth_" + std::to_string(getpid())))
                .string();
    Write("ci submitter team-a sha256:" + Sha256Hex("old") + "\n" +
          "dash viewer team-a cert:dash.example.com\n");
    auto opened = Authenticator::Open(
        path_, {.poll_micros = 5'000,
                .loaded = [this](const absl::StatusOr<int64_t>& outcome) {
                  std::lock_guard lock(mutex_);
                  outcomes_.push_back(outcome);
                  changed_.notify_all();
                }});
    ASSERT_TRUE(opened.ok()) << opened.status();
    authenticator_ = *std::move(opened);
  }
  void TearDown() override {
    authenticator_.reset();
    std::filesystem::remove(path_);
  }

  void Write(const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(path_, text, false).ok());
  }
  absl::StatusOr<int64_t> Outcome(size_t index) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(20),
                      [&] { return outcomes_.size() > index; });
    return outcomes_.at(index);
  }
  std::string NameOf(const Credentials& credentials) {
    const auto found = authenticator_->Authenticate(credentials);
    if (found.ok()) return (*found)->name;
    EXPECT_EQ(found.status().code(), absl::StatusCode::kUnauthenticated);
    EXPECT_EQ(GetReason(found.status()), Reason::kUnauthenticated);
    EXPECT_THAT(std::string(found.status().message()),
                testing::Not(testing::HasSubstr("guess")));
    return "";
  }
  std::string WithToken(const std::string& token) {
    return NameOf({.authorization = {"Bearer " + token}});
  }

  std::string path_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<absl::StatusOr<int64_t>> outcomes_;
  std::unique_ptr<Authenticator> authenticator_;
};

TEST_F(AuthenticatorTest, TokensAndCertificates) {
  EXPECT_EQ(WithToken("old"), "ci");
  EXPECT_EQ(NameOf({.authorization = {"bearer  old "}}), "ci");
  EXPECT_EQ(NameOf({.certificate_names = {"x", "dash.example.com"}}), "dash");
  EXPECT_EQ(NameOf({.authorization = {"Bearer old"},
                    .certificate_names = {"dash.example.com"}}),
            "ci");
}

TEST_F(AuthenticatorTest, EverythingElseIsNobody) {
  EXPECT_EQ(NameOf({}), "");
  for (const char* token : {"", "guess", "ol", "old2", "OLD"}) {
    EXPECT_EQ(WithToken(token), "") << token;
  }
  EXPECT_EQ(WithToken(std::string("ol\0d", 4)), "");
  EXPECT_EQ(WithToken(Sha256Hex("old")), "") << "the digest is no token";
  EXPECT_EQ(NameOf({.authorization = {"Basic old"}}), "");
  EXPECT_EQ(NameOf({.authorization = {"old"}}), "");
  EXPECT_EQ(NameOf({.authorization = {"Bearer old", "Bearer old"}}), "");
  EXPECT_EQ(NameOf({.certificate_names = {"ci"}}), "");
  EXPECT_EQ(NameOf({.authorization = {"Bearer guess"},
                    .certificate_names = {"dash.example.com"}}),
            "")
      << "a wrong token is not made good by a certificate";
}

TEST_F(AuthenticatorTest, AGoodFileReplacesTheOldOne) {
  Write("ci submitter team-a sha256:" + Sha256Hex("new"));
  const auto outcome = Outcome(1);
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(*outcome, 1);
  EXPECT_EQ(WithToken("new"), "ci");
  EXPECT_EQ(WithToken("old"), "");
}

TEST_F(AuthenticatorTest, ABadFileLeavesTheOldOneInForce) {
  Write("ci submitter\nroot admin");
  const auto refused = Outcome(1);
  EXPECT_THAT(std::string(refused.status().message()),
              testing::AllOf(testing::HasSubstr(":1: 2 words"),
                             testing::HasSubstr(":2: 2 words")));
  EXPECT_EQ(WithToken("old"), "ci");
  std::filesystem::remove(path_);
  EXPECT_FALSE(Outcome(2).ok());
  EXPECT_EQ(WithToken("old"), "ci");
  Write("ci submitter team-a sha256:" + Sha256Hex("new"));
  EXPECT_TRUE(Outcome(3).ok());
  EXPECT_EQ(WithToken("new"), "ci");
  // What is wrong is said once, not with every look.
  std::lock_guard lock(mutex_);
  EXPECT_EQ(outcomes_.size(), 4);
}

TEST(AuthenticatorOpenTest, ABadFileAtTheStartIsAnError) {
  EXPECT_FALSE(Authenticator::Open("/nonexistent/auth", {}).ok());
}

}  // namespace
}  // namespace quant

// Messages over the socket, and the small translations.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "core/base/error.h"
#include "core/recipe/recipe.h"
#include "quant/worker/v1/attempt.pb.h"
#include "server/worker/attempt_protocol.h"
#include "server/worker/child_process.h"
#include "server/worker/outcome.h"

namespace quant {
namespace {

using worker::v1::AttemptEvent;

class ProtocolTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends_), 0);
  }
  void TearDown() override {
    ::close(ends_[0]);
    Hang();
  }
  void Hang() {
    if (ends_[1] >= 0) ::close(ends_[1]);
    ends_[1] = -1;
  }
  // What a receiver makes of these bytes and the end of the stream.
  absl::StatusOr<bool> Received(const std::string& bytes) {
    EXPECT_EQ(::write(ends_[1], bytes.data(), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
    Hang();
    AttemptEvent event;
    return ReceiveMessage(ends_[0], event);
  }
  int ends_[2];
};

TEST_F(ProtocolTest, MessagesArriveInOrder) {
  AttemptEvent sent;
  for (int i = 0; i < 3; ++i) {
    sent.mutable_progress()->set_tensor(std::string(i * 10'000, 't'));
    ASSERT_TRUE(SendMessage(ends_[1], sent).ok());
  }
  ASSERT_TRUE(SendMessage(ends_[1], AttemptEvent()).ok());
  Hang();
  AttemptEvent got;
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(ReceiveMessage(ends_[0], got).value());
    EXPECT_EQ(got.progress().tensor().size(), size_t(i) * 10'000);
  }
  EXPECT_TRUE(ReceiveMessage(ends_[0], got).value());
  EXPECT_EQ(got.kind_case(), AttemptEvent::KIND_NOT_SET);
  EXPECT_FALSE(ReceiveMessage(ends_[0], got).value());
}

TEST_F(ProtocolTest, TheEndBetweenMessagesIsAnEnd) {
  const auto received = Received("");
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_FALSE(*received);
}

TEST_F(ProtocolTest, TheEndInsideALengthIsLoss) {
  EXPECT_EQ(Received(std::string("\1\0", 2)).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(ProtocolTest, TheEndInsideAMessageIsLoss) {
  EXPECT_EQ(Received(std::string("\5\0\0\0ab", 6)).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(ProtocolTest, WhatIsNoMessageIsLoss) {
  EXPECT_EQ(Received(std::string("\2\0\0\0\xFF\xFF", 6)).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(ProtocolTest, AbsurdLengthsAreRefusedUnread) {
  EXPECT_EQ(Received("\xFF\xFF\xFF\xFF").status().code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(ProtocolTest, SendingToNobodyIsAnErrorAndNoSignal) {
  ::close(ends_[0]);
  AttemptEvent event;
  EXPECT_EQ(SendMessage(ends_[1], event).code(),
            absl::StatusCode::kUnavailable);
  ends_[0] = ::dup(ends_[1]);
}

TEST(ChildProcessTest, TellsHowItEnded) {
  auto child = ChildProcess::Start("/bin/false");
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(child->Reap(), "exited with 1");
  EXPECT_EQ(GetReason(ChildProcess::Start("/nowhere").status()),
            Reason::kWorkerCrashed);
}

// A child whose server goes away before it asked for anything ends by itself.
TEST(ChildProcessTest, AWorkerWithoutARequestEnds) {
  auto child = ChildProcess::Start("/proc/self/exe");
  ASSERT_TRUE(child.ok()) << child.status();
  child->AskToStop();
  EXPECT_EQ(child->Reap(), "exited with 1");
}

TEST(OutcomeTest, GateErrorsNameWhatFailed) {
  worker::v1::AttemptResult result;
  EXPECT_TRUE(GateError(result).ok());
  v1::GateResult& passed = *result.add_gates();
  *passed.mutable_gate() = *ParseGate("size_bytes <= 10");
  passed.set_passed(true);
  EXPECT_TRUE(GateError(result).ok());
  v1::GateResult& failed = *result.add_gates();
  *failed.mutable_gate() = *ParseGate("min_sqnr_db >= 18");
  failed.set_output("four");
  failed.set_value(17.5);
  const absl::Status status = GateError(result);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetReason(status), Reason::kGateFailed);
  for (const char* word : {"min_sqnr_db", "four", "17.5"}) {
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(word));
  }
}

}  // namespace
}  // namespace quant

// Messages that are too long for a peer are cut where a reader expects it.
#include "server/api/grpc_status.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace quant {
namespace {

std::string Sent(const std::string& message) {
  return ToGrpcStatus(absl::FailedPreconditionError(message)).error_message();
}

// The first line and `lines` of 21 bytes each.
std::string List(int lines) {
  std::string text = "these do not fit:";
  for (int i = 0; i < lines; ++i) {
    absl::StrAppend(&text, "\n  line ", 100 + i, " of a list");
  }
  return text;
}

TEST(GrpcStatusTest, AListEndsWithAWholeLineAndSaysHowManyMoreThereAre) {
  EXPECT_EQ(Sent(List(70)), List(70)) << "it fits";
  const std::string sent = Sent(List(90));
  ASSERT_TRUE(absl::EndsWith(sent, "\nand 20 lines more")) << sent;
  EXPECT_EQ(sent, absl::StrCat(List(70), "\nand 20 lines more"));
}

TEST(GrpcStatusTest, OneLineMoreIsOneLine) {
  const std::string last(1000, 'x');
  EXPECT_EQ(Sent(absl::StrCat(List(40), "\n", last)),
            absl::StrCat(List(40), "\nand 1 line more"));
}

TEST(GrpcStatusTest, OneLineEndsWithAWholeCharacter) {
  std::string message = "x";
  for (int i = 0; i < 1000; ++i) message += "\xC3\xBC";
  EXPECT_EQ(Sent(message),
            absl::StrCat(message.substr(0, 1499), " ... (2001 bytes in all)"));
}

TEST(GrpcStatusTest, BrokenBytesBecomeQuestionMarks) {
  EXPECT_EQ(Sent("a\xFF"
                 "b\xC3"),
            "a?b?");
}

}  // namespace
}  // namespace quant

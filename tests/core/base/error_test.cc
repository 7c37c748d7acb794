#include "core/base/error.h"

#include <cerrno>
#include <set>
#include <string>

#include "core/base/status_macros.h"
#include "gtest/gtest.h"

namespace quant {
namespace {

TEST(ReasonTest, EveryNameIsUniqueAndParses) {
  std::set<std::string> names;
  for (int i = 0; i <= static_cast<int>(Reason::kUnimplemented); ++i) {
    const auto reason = static_cast<Reason>(i);
    const std::string name(ReasonName(reason));
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_EQ(ParseReason(name), reason) << name;
    EXPECT_EQ(name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_"),
              std::string::npos)
        << name;
  }
  EXPECT_EQ(ParseReason("NO_SUCH_REASON"), std::nullopt);
}

TEST(MakeErrorTest, CarriesReasonAndField) {
  const absl::Status status = MakeError(
      absl::StatusCode::kNotFound, Reason::kJobNotFound, "job x", "spec.name");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "job x");
  EXPECT_EQ(GetReason(status), Reason::kJobNotFound);
  EXPECT_EQ(GetField(status), "spec.name");
  EXPECT_EQ(GetField(InvalidSpec("x")), "");
  EXPECT_EQ(ModelMalformed("x").code(), absl::StatusCode::kDataLoss);
}

TEST(GetReasonTest, FollowsFromTheCodeWhenNoneIsAttached) {
  EXPECT_EQ(GetReason(absl::CancelledError("")), Reason::kCancelled);
  EXPECT_EQ(GetReason(absl::ResourceExhaustedError("")), Reason::kStorageFull);
  EXPECT_EQ(GetReason(absl::DataLossError("")), Reason::kModelMalformed);
  EXPECT_EQ(GetReason(absl::InternalError("")), Reason::kInternal);
}

TEST(AnnotateTest, PrefixesMessageAndFieldAndKeepsTheRest) {
  const absl::Status status =
      Annotate(InvalidSpec("bad", "scheme"), "output 0", "outputs[0].recipe.");
  EXPECT_EQ(status.message(), "output 0: bad");
  EXPECT_EQ(GetField(status), "outputs[0].recipe.scheme");
  EXPECT_EQ(GetReason(status), Reason::kInvalidSpec);
  EXPECT_EQ(Annotate(InvalidSpec("bad"), "", "x.").message(), "bad");
  EXPECT_EQ(GetField(Annotate(InvalidSpec("bad"), "", "x.")), "");
  EXPECT_TRUE(Annotate(absl::OkStatus(), "prefix").ok());
}

TEST(ErrnoErrorTest, MapsByMeaning) {
  const auto code = [](int error) { return ErrnoError(error, "f").code(); };
  EXPECT_EQ(code(ENOENT), absl::StatusCode::kNotFound);
  EXPECT_EQ(code(EACCES), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code(ENOSPC), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code(EDQUOT), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code(EIO), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GetReason(ErrnoError(ENOSPC, "f")), Reason::kStorageFull);
  EXPECT_EQ(GetReason(ErrnoError(EIO, "f")), Reason::kStorageUnavailable);
  EXPECT_EQ(ErrnoError(ENOENT, "f").message(), "f: No such file or directory");
}

absl::StatusOr<int> Half(int x) {
  if (x % 2 != 0) return InvalidSpec("odd");
  return x / 2;
}

absl::StatusOr<int> Quarter(int x) {
  QUANT_ASSIGN_OR_RETURN(const int half, Half(x));
  QUANT_RETURN_IF_ERROR(Half(half).status());
  return half / 2;
}

TEST(StatusMacrosTest, ReturnEarlyWithTheError) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(7).status().message(), "odd");
  EXPECT_EQ(Quarter(6).status().message(), "odd");
}

}  // namespace
}  // namespace quant

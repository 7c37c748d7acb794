#include "core/recipe/rpc_status.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "google/rpc/error_details.pb.h"

namespace quant {
namespace {

template <typename Detail>
std::vector<Detail> DetailsOf(const google::rpc::Status& status) {
  std::vector<Detail> details;
  for (const auto& any : status.details()) {
    Detail detail;
    if (any.UnpackTo(&detail)) details.push_back(detail);
  }
  return details;
}

std::vector<Reason> AllReasons() {
  std::vector<Reason> reasons;
  for (int i = 0; i <= static_cast<int>(Reason::kUnimplemented); ++i) {
    reasons.push_back(static_cast<Reason>(i));
  }
  return reasons;
}

TEST(RpcStatus, EveryReasonSurvivesTheRoundTripWithOneErrorInfo) {
  for (Reason reason : AllReasons()) {
    EXPECT_EQ(ParseReason(ReasonName(reason)), reason);
    for (absl::StatusCode code :
         {absl::StatusCode::kInvalidArgument, absl::StatusCode::kUnavailable,
          absl::StatusCode::kFailedPrecondition}) {
      const absl::Status before =
          MakeError(code, reason, "what was found; what is allowed", "a[0].b");
      const google::rpc::Status rpc = ToRpcStatus(before);
      const auto infos = DetailsOf<google::rpc::ErrorInfo>(rpc);
      ASSERT_EQ(infos.size(), 1u);
      EXPECT_EQ(infos[0].domain(), "quant.v1");
      EXPECT_EQ(infos[0].reason(), std::string(ReasonName(reason)));
      const absl::Status after = FromRpcStatus(rpc);
      EXPECT_EQ(after.code(), code);
      EXPECT_EQ(after.message(), before.message());
      EXPECT_EQ(GetReason(after), reason);
    }
  }
}

TEST(RpcStatus, FieldsAreBadRequestsAndCrossTheWire) {
  const google::rpc::Status rpc =
      ToRpcStatus(InvalidSpec("too large", "outputs[0].recipe.group_size"));
  const auto bad = DetailsOf<google::rpc::BadRequest>(rpc);
  ASSERT_EQ(bad.size(), 1u);
  ASSERT_EQ(bad[0].field_violations_size(), 1);
  EXPECT_EQ(bad[0].field_violations(0).field(), "outputs[0].recipe.group_size");
  EXPECT_EQ(GetField(FromRpcStatus(rpc)), "outputs[0].recipe.group_size");
}

TEST(RpcStatus, StatusesWithoutReasonGetOne) {
  for (const absl::Status& status :
       {absl::InternalError("x"), absl::CancelledError("x"),
        absl::UnknownError(""), absl::DataLossError("x")}) {
    const google::rpc::Status rpc = ToRpcStatus(status);
    EXPECT_EQ(DetailsOf<google::rpc::ErrorInfo>(rpc).size(), 1u);
    EXPECT_EQ(FromRpcStatus(rpc).code(), status.code());
  }
  EXPECT_TRUE(FromRpcStatus(ToRpcStatus(absl::OkStatus())).ok());
  EXPECT_EQ(ToRpcStatus(absl::OkStatus()).details_size(), 0);
}

TEST(RpcStatus, RetryInfoWhereARetryHelps) {
  const auto retries = [](absl::StatusCode code, Reason reason) {
    return DetailsOf<google::rpc::RetryInfo>(
               ToRpcStatus(MakeError(code, reason, "x")))
        .size();
  };
  EXPECT_EQ(retries(absl::StatusCode::kUnavailable, Reason::kServerDraining),
            1u);
  EXPECT_EQ(retries(absl::StatusCode::kResourceExhausted, Reason::kQueueFull),
            1u);
  EXPECT_EQ(retries(absl::StatusCode::kInvalidArgument, Reason::kInvalidSpec),
            0u);
}

TEST(RpcStatus, RetryableIsInfrastructureNotInput) {
  const auto retryable = [](absl::StatusCode code, Reason reason) {
    return IsRetryable(MakeError(code, reason, "x"));
  };
  using Code = absl::StatusCode;
  EXPECT_TRUE(retryable(Code::kUnavailable, Reason::kStorageUnavailable));
  EXPECT_TRUE(retryable(Code::kResourceExhausted, Reason::kStorageFull));
  EXPECT_TRUE(retryable(Code::kFailedPrecondition, Reason::kWorkDirLocked));
  EXPECT_TRUE(retryable(Code::kFailedPrecondition, Reason::kSourceChanged));
  EXPECT_FALSE(retryable(Code::kFailedPrecondition, Reason::kPlanRefused));
  EXPECT_FALSE(retryable(Code::kFailedPrecondition, Reason::kNonfiniteWeights));
  EXPECT_FALSE(retryable(Code::kInvalidArgument, Reason::kInvalidSpec));
  EXPECT_FALSE(retryable(Code::kDataLoss, Reason::kModelMalformed));
  EXPECT_FALSE(retryable(Code::kCancelled, Reason::kCancelled));
  EXPECT_FALSE(IsRetryable(absl::OkStatus()));
}

// Details of somebody else are passed over.
TEST(RpcStatus, ForeignDetailsDoNoHarm) {
  google::rpc::Status rpc;
  rpc.set_code(9999);
  rpc.set_message("x");
  rpc.add_details()->set_type_url("type.googleapis.com/unknown.Thing");
  google::rpc::ErrorInfo info;
  info.set_reason("NO_SUCH_REASON");
  rpc.add_details()->PackFrom(info);
  const absl::Status status = FromRpcStatus(rpc);
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.message(), "x");
}

}  // namespace
}  // namespace quant

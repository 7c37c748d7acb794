#include "client/cli/exit_code.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "google/rpc/error_details.pb.h"

namespace quant::cli {
namespace {

using absl::StatusCode;

struct Row {
  StatusCode code;
  Reason reason;
  ExitCode of_status;   // a command that could not do what it was asked to
  ExitCode of_failure;  // work that began and failed
};

// Every reason that a server or the core attaches, with its usual code.
constexpr Row kRows[] = {
    {StatusCode::kInvalidArgument, Reason::kInvalidSpec, kExitUsage,
     kExitJobFailed},
    {StatusCode::kInvalidArgument, Reason::kUnknownName, kExitUsage,
     kExitJobFailed},
    {StatusCode::kInvalidArgument, Reason::kUnsupported, kExitUsage,
     kExitJobFailed},
    {StatusCode::kInvalidArgument, Reason::kRequestIdReused, kExitUsage,
     kExitJobFailed},
    {StatusCode::kAlreadyExists, Reason::kOutputExists, kExitUsage, kExitUsage},
    {StatusCode::kFailedPrecondition, Reason::kPlanRefused, kExitJobFailed,
     kExitJobFailed},
    {StatusCode::kDataLoss, Reason::kModelMalformed, kExitJobFailed,
     kExitJobFailed},
    {StatusCode::kFailedPrecondition, Reason::kUnsafeFormat, kExitJobFailed,
     kExitJobFailed},
    {StatusCode::kFailedPrecondition, Reason::kNonfiniteWeights, kExitJobFailed,
     kExitJobFailed},
    {StatusCode::kFailedPrecondition, Reason::kSourceChanged, kExitJobFailed,
     kExitJobFailed},
    {StatusCode::kInvalidArgument, Reason::kSourceNotAllowed, kExitNotAllowed,
     kExitNotAllowed},
    {StatusCode::kFailedPrecondition, Reason::kSourceMissing, kExitNotFound,
     kExitNotFound},
    {StatusCode::kNotFound, Reason::kJobNotFound, kExitNotFound, kExitNotFound},
    {StatusCode::kNotFound, Reason::kArtifactNotFound, kExitNotFound,
     kExitNotFound},
    {StatusCode::kCancelled, Reason::kCancelled, kExitCancelled,
     kExitCancelled},
    {StatusCode::kDataLoss, Reason::kDigestMismatch, kExitDigestMismatch,
     kExitDigestMismatch},
    {StatusCode::kResourceExhausted, Reason::kQueueFull, kExitQuota,
     kExitInfrastructure},
    {StatusCode::kResourceExhausted, Reason::kStorageFull, kExitQuota,
     kExitInfrastructure},
    {StatusCode::kUnavailable, Reason::kServerDraining, kExitUnavailable,
     kExitInfrastructure},
    {StatusCode::kUnavailable, Reason::kStorageUnavailable, kExitUnavailable,
     kExitInfrastructure},
    {StatusCode::kFailedPrecondition, Reason::kGateFailed, kExitGateFailed,
     kExitGateFailed},
    {StatusCode::kInternal, Reason::kPoison, kExitInfrastructure,
     kExitInfrastructure},
    {StatusCode::kInternal, Reason::kWorkerCrashed, kExitInfrastructure,
     kExitInfrastructure},
    {StatusCode::kFailedPrecondition, Reason::kJobNotTerminal, kExitOther,
     kExitJobFailed},
    {StatusCode::kInternal, Reason::kInternal, kExitOther, kExitInfrastructure},
};

TEST(ExitCodeTest, EveryReasonHasItsCode) {
  for (const Row& row : kRows) {
    const absl::Status status = MakeError(row.code, row.reason, "x");
    EXPECT_EQ(ExitCodeOfStatus(status), row.of_status) << status;
    EXPECT_EQ(ExitCodeOfFailure(status), row.of_failure) << status;
  }
}

TEST(ExitCodeTest, CodesWithoutAReason) {
  EXPECT_EQ(ExitCodeOfStatus(absl::OkStatus()), kExitOk);
  EXPECT_EQ(ExitCodeOfStatus(absl::UnauthenticatedError("x")), kExitNotAllowed);
  EXPECT_EQ(ExitCodeOfStatus(absl::PermissionDeniedError("x")),
            kExitNotAllowed);
  EXPECT_EQ(ExitCodeOfStatus(absl::DeadlineExceededError("x")),
            kExitUnavailable);
  EXPECT_EQ(ExitCodeOfStatus(absl::NotFoundError("x")), kExitNotFound);
  EXPECT_EQ(ExitCodeOfStatus(absl::UnknownError("x")), kExitOther);
}

v1::Job FailedJob(const std::string& state_reason, StatusCode code,
                  Reason reason) {
  v1::Job job;
  job.set_state(v1::Job::FAILED);
  job.set_state_reason(state_reason);
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(ReasonName(reason)));
  job.mutable_error()->set_code(static_cast<int>(code));
  job.mutable_error()->add_details()->PackFrom(info);
  return job;
}

TEST(ExitCodeTest, JobsByTheirState) {
  v1::Job job;
  job.set_state(v1::Job::SUCCEEDED);
  EXPECT_EQ(ExitCodeOfJob(job), kExitOk);
  job.set_state(v1::Job::CANCELLED);
  EXPECT_EQ(ExitCodeOfJob(job), kExitCancelled);
  EXPECT_EQ(
      ExitCodeOfJob(FailedJob("GATE_FAILED", StatusCode::kFailedPrecondition,
                              Reason::kGateFailed)),
      kExitGateFailed);
  EXPECT_EQ(ExitCodeOfJob(FailedJob("MODEL_MALFORMED", StatusCode::kDataLoss,
                                    Reason::kModelMalformed)),
            kExitJobFailed);
  EXPECT_EQ(ExitCodeOfJob(FailedJob("POISON", StatusCode::kInternal,
                                    Reason::kWorkerCrashed)),
            kExitInfrastructure);
  // The reason of the last attempt does not hide that retries ran out.
  EXPECT_EQ(
      ExitCodeOfJob(FailedJob("ATTEMPTS_EXHAUSTED", StatusCode::kUnavailable,
                              Reason::kStorageUnavailable)),
      kExitInfrastructure);
  // A failed job without any error is still a failure.
  job.set_state(v1::Job::FAILED);
  EXPECT_EQ(ExitCodeOfJob(job), kExitOther);
}

}  // namespace
}  // namespace quant::cli

// Limits of a principal, over the wire: what is refused, how, and who is not.
#include <gmock/gmock.h>

#include <thread>

#include "core/base/digest.h"
#include "tests/server/api/access_test_base.h"

namespace quant {
namespace {

class LimitsTest : public AuthApiTest {
 protected:
  // The status of an error that a limit gave, with all its details.
  static void ExpectLimited(const grpc::Status& status,
                            const std::string& reason,
                            const std::string& subject) {
    ExpectError(status, grpc::RESOURCE_EXHAUSTED, reason);
    EXPECT_TRUE(DetailsOf(status).has_retry_info);
    google::rpc::Status rpc;
    ASSERT_TRUE(rpc.ParseFromString(status.error_details()));
    google::rpc::QuotaFailure quota;
    for (const auto& any : rpc.details()) any.UnpackTo(&quota);
    ASSERT_EQ(quota.violations_size(), 1);
    EXPECT_EQ(quota.violations(0).subject(), subject);
    EXPECT_EQ(quota.violations(0).description(), status.error_message());
  }
  grpc::Status Create(const std::string& caller,
                      const std::string& request_id = "") {
    v1::CreateJobRequest request = GoodRequest();
    request.set_request_id(request_id);
    v1::Job job;
    return jobs_stub_->CreateJob(As(caller).get(), request, &job);
  }
  grpc::Status List(const std::string& caller) {
    v1::ListJobsResponse response;
    return jobs_stub_->ListJobs(As(caller).get(), {}, &response);
  }
};

class OpenJobsTest : public LimitsTest {
 protected:
  OpenJobsTest() { limits_.open_jobs = 2; }
};

TEST_F(OpenJobsTest, TheQueueOfOneIsBounded) {
  EXPECT_TRUE(Create("submitter", "first").ok());
  EXPECT_TRUE(Create("submitter").ok());
  ExpectLimited(Create("submitter"), "QUOTA_EXCEEDED", "principal:submitter");
  EXPECT_TRUE(Create("submitter", "first").ok()) << "a repeat costs nothing";
  EXPECT_TRUE(Create("stranger").ok());
  Finish(Claim(), Outcome::kSucceeded);
  EXPECT_TRUE(Create("submitter").ok());
}

class BytesTest : public LimitsTest {
 protected:
  BytesTest() { limits_.stored_bytes = 1000; }

  grpc::Status Upload(const std::string& caller, int64_t size) {
    v1::CreateUploadRequest request;
    v1::UploadFile& file = *request.add_files();
    file.set_path("model.safetensors");
    file.set_size_bytes(size);
    file.set_sha256(Sha256Hex(std::string(size, 'x')));
    return models_stub_->CreateUpload(As(caller).get(), request, &upload_);
  }
  grpc::Status Write(const std::string& caller, int64_t size) {
    const std::string bytes(size, 'x');
    google::bytestream::WriteRequest request;
    request.set_resource_name(upload_.name() + "/blobs/" + Sha256Hex(bytes));
    request.set_data(bytes);
    request.set_finish_write(true);
    google::bytestream::WriteResponse response;
    auto context = As(caller);
    auto writer = bytes_stub_->Write(context.get(), &response);
    writer->Write(request);
    writer->WritesDone();
    return writer->Finish();
  }
  v1::Upload upload_;
};

TEST_F(BytesTest, UploadsOfATenantAreBounded) {
  EXPECT_TRUE(Upload("submitter", 700).ok());
  const v1::Upload first = upload_;
  EXPECT_TRUE(Upload("submitter", 600).ok()) << "nothing is stored yet";
  const v1::Upload second = upload_;
  upload_ = first;
  EXPECT_TRUE(Write("submitter", 700).ok());
  upload_ = second;
  ExpectLimited(Write("submitter", 600), "QUOTA_EXCEEDED", "tenant:ours");
  ExpectLimited(Upload("operator", 301), "QUOTA_EXCEEDED", "tenant:ours");
  EXPECT_TRUE(Upload("submitter", 700).ok()) << "it is there already";
  EXPECT_TRUE(Upload("stranger", 900).ok()) << "of another tenant";
}

TEST_F(BytesTest, JobsWhoseResultsDontFitAreRefused) {
  ExpectLimited(Create("submitter"), "QUOTA_EXCEEDED", "tenant:ours");
  v1::ListJobsResponse response;
  ASSERT_TRUE(jobs_stub_->ListJobs(As("admin").get(), {}, &response).ok());
  EXPECT_EQ(response.jobs_size(), 0);
}

class StreamsTest : public LimitsTest {
 protected:
  StreamsTest() { limits_.streams = 2; }
};

TEST_F(StreamsTest, StreamsOfOneAreBounded) {
  v1::Job job;
  ASSERT_TRUE(
      jobs_stub_->CreateJob(As("submitter").get(), GoodRequest(), &job).ok());
  v1::WatchJobRequest request;
  request.set_name(job.name());
  v1::WatchJobResponse event;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::WatchJobResponse>>> open;
  const auto watch = [&](const std::string& caller) {
    contexts.push_back(As(caller));
    open.push_back(jobs_stub_->WatchJob(contexts.back().get(), request));
    return open.back()->Read(&event);
  };
  EXPECT_TRUE(watch("viewer"));
  EXPECT_TRUE(watch("viewer"));
  EXPECT_FALSE(watch("viewer"));
  ExpectLimited(open.back()->Finish(), "QUOTA_EXCEEDED", "principal:viewer");
  EXPECT_TRUE(watch("submitter")) << "of the same tenant, another caller";
  // One that ends makes room, as soon as the server has seen its end.
  contexts[0]->TryCancel();
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!watch("viewer")) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    open.back()->Finish();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  for (auto& context : contexts) context->TryCancel();
}

class RateTest : public LimitsTest {
 protected:
  RateTest() { limits_.calls_per_second = 5; }
};

TEST_F(RateTest, CallsOfOneAreBounded) {
  grpc::Status status;
  int answered = 0;
  while ((status = List("viewer")).ok()) ++answered;
  EXPECT_GE(answered, 10);
  ExpectLimited(status, "RATE_LIMITED", "principal:viewer");
  EXPECT_TRUE(List("submitter").ok());
  grpc::health::v1::HealthCheckRequest request;
  grpc::health::v1::HealthCheckResponse response;
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE(health_stub_->Check(Context().get(), request, &response).ok());
  }
  // A wrong token costs nobody else's calls.
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(List("guess").error_code(), grpc::UNAUTHENTICATED);
  }
  EXPECT_TRUE(List("operator").ok());
}

}  // namespace
}  // namespace quant

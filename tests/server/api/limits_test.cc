// Limits of a principal, over the wire: what is refused, how, and who is not.
#include <gmock/gmock.h>

#include <filesystem>
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
    // What is stored stays: to come back is in vain.
    EXPECT_EQ(DetailsOf(status).has_retry_info,
              subject.rfind("tenant:", 0) != 0);
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

TEST_F(OpenJobsTest, ARetryIsBoundedToo) {
  EXPECT_TRUE(Create("submitter").ok());
  const JobRecord failed = Claim();
  Finish(failed, Outcome::kPermanentFailure);
  EXPECT_TRUE(Create("submitter").ok());
  EXPECT_TRUE(Create("submitter").ok());
  v1::RetryJobRequest request;
  request.set_name("jobs/" + failed.id);
  v1::Job job;
  // Whoever asks: the job is its maker's.
  for (const char* caller : {"submitter", "operator", "admin"}) {
    ExpectLimited(jobs_stub_->RetryJob(As(caller).get(), request, &job),
                  "QUOTA_EXCEEDED", "principal:submitter");
  }
  Finish(Claim(), Outcome::kSucceeded);
  EXPECT_TRUE(jobs_stub_->RetryJob(As("submitter").get(), request, &job).ok());
}

TEST_F(OpenJobsTest, ACheckIsRefusedAsTheJobWouldBe) {
  v1::CreateJobRequest request = GoodRequest();
  request.set_validate_only(true);
  v1::Job job;
  EXPECT_TRUE(jobs_stub_->CreateJob(As("submitter").get(), request, &job).ok());
  EXPECT_EQ(job.name(), "");
  EXPECT_TRUE(Create("submitter", "first").ok());
  EXPECT_TRUE(Create("submitter").ok());
  ExpectLimited(jobs_stub_->CreateJob(As("submitter").get(), request, &job),
                "QUOTA_EXCEEDED", "principal:submitter");
  request.set_request_id("first");
  EXPECT_TRUE(jobs_stub_->CreateJob(As("submitter").get(), request, &job).ok());
  EXPECT_NE(job.name(), "") << "that is the job";
}

class BytesTest : public LimitsTest {
 protected:
  BytesTest() { limits_.stored_bytes = 10'000; }

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
  EXPECT_TRUE(Upload("submitter", 7000).ok());
  const v1::Upload first = upload_;
  ExpectLimited(Upload("submitter", 4000), "QUOTA_EXCEEDED", "tenant:ours");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(
                              temp_ / "uploads" / "uploads"),
                          {}),
            1)
      << "nothing is declared that is refused";
  EXPECT_TRUE(Upload("submitter", 7000).ok()) << "it is declared already";
  EXPECT_TRUE(Upload("operator", 2000).ok());
  EXPECT_TRUE(Write("operator", 2000).ok());
  upload_ = first;
  EXPECT_TRUE(Write("submitter", 7000).ok()) << "what was declared may come";
  ExpectLimited(Upload("operator", 1000), "QUOTA_EXCEEDED", "tenant:ours");
  EXPECT_TRUE(Upload("stranger", 9000).ok()) << "of another tenant";
}

// Declarations of nothing are bytes too.
TEST_F(BytesTest, EmptyUploadsAreBounded) {
  v1::CreateUploadRequest request;
  v1::UploadFile& file = *request.add_files();
  file.set_sha256(Sha256Hex(""));
  grpc::Status status;
  int made = 0;
  for (; status.ok() && made < 1000; ++made) {
    file.set_path(std::to_string(made));
    status =
        models_stub_->CreateUpload(As("submitter").get(), request, &upload_);
  }
  EXPECT_LT(made, 200);
  ExpectLimited(status, "QUOTA_EXCEEDED", "tenant:ours");
}

TEST_F(BytesTest, JobsWhoseResultsDontFitAreRefused) {
  ExpectLimited(Create("submitter"), "QUOTA_EXCEEDED", "tenant:ours");
  v1::ListJobsResponse response;
  ASSERT_TRUE(jobs_stub_->ListJobs(As("admin").get(), {}, &response).ok());
  EXPECT_EQ(response.jobs_size(), 0);
}

// Of the job's maker, whoever asks for it.
TEST_F(BytesTest, RetriesWhoseResultsDontFitAreRefused) {
  const auto made = [&](const std::string& tenant) {
    const auto planned = planner_->Plan(GoodRequest().spec());
    EXPECT_TRUE(planned.ok()) << planned.status();
    Answered<JobRecord> answer;
    jobs_->Enqueue({.spec = (*planned)->canonical_bytes,
                    .owner = {.tenant = tenant, .principal = "submitter"}},
                   answer.callback());
    EXPECT_TRUE(answer.Get().ok());
    const JobRecord claimed = Claim();
    return claimed;
  };
  const auto retry = [&](const std::string& caller, const JobRecord& job) {
    v1::RetryJobRequest request;
    request.set_name("jobs/" + job.id);
    v1::Job response;
    return jobs_stub_->RetryJob(As(caller).get(), request, &response);
  };
  const JobRecord failed = made("ours");
  EXPECT_TRUE(retry("submitter", failed).ok()) << "it runs: nothing is changed";
  Finish(failed, Outcome::kPermanentFailure);
  for (const char* caller : {"submitter", "admin"}) {
    ExpectLimited(retry(caller, failed), "QUOTA_EXCEEDED", "tenant:ours");
  }
  EXPECT_EQ(jobs_->Get(failed.id)->state, JobState::kFailed);
  const JobRecord judged = made("ours");
  Finish(judged, Outcome::kGateFailed, {Publish(judged.id, {{"a", "b"}})});
  EXPECT_TRUE(retry("submitter", judged).ok()) << "its result is stored";
}

class NobodyTest : public ApiTest {};

// A server that asks nobody who they are has words for them.
TEST_F(NobodyTest, IsNotNamedByAnEmptyString) {
  limits_ = {.open_jobs = 1, .stored_bytes = 100'000'000};
  Start();
  CreateJob();
  v1::Job job;
  const grpc::Status jobs =
      jobs_stub_->CreateJob(Context().get(), GoodRequest(), &job);
  ExpectError(jobs, grpc::RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED");
  EXPECT_THAT(jobs.error_message(), testing::StartsWith("whoever connects "));
  v1::CreateUploadRequest request;
  v1::UploadFile& file = *request.add_files();
  file.set_path("a");
  file.set_size_bytes(200'000'000);
  file.set_sha256(Sha256Hex("a"));
  v1::Upload upload;
  const grpc::Status bytes =
      models_stub_->CreateUpload(Context().get(), request, &upload);
  ExpectError(bytes, grpc::RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED");
  EXPECT_THAT(bytes.error_message(), testing::StartsWith("whoever connects "));
  EXPECT_TRUE(DetailsOf(jobs).has_retry_info);
  EXPECT_FALSE(DetailsOf(bytes).has_retry_info);
}

// Probes take nothing from those who work.
TEST_F(NobodyTest, HealthWatchesHaveAPlaceOfTheirOwn) {
  max_streams_ = 1;
  Start();
  grpc::health::v1::HealthCheckRequest request;
  grpc::health::v1::HealthCheckResponse response;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<decltype(response)>>> open;
  const auto watch = [&] {
    contexts.push_back(Context());
    open.push_back(health_stub_->Watch(contexts.back().get(), request));
    return open.back()->Read(&response);
  };
  for (int i = 0; i < kMaxAnonymousStreams; ++i) ASSERT_TRUE(watch()) << i;
  EXPECT_FALSE(watch());
  const grpc::Status refused = open.back()->Finish();
  ExpectError(refused, grpc::RESOURCE_EXHAUSTED, "QUEUE_FULL");
  EXPECT_THAT(refused.error_message(),
              testing::HasSubstr("without credentials"));
  v1::WatchJobRequest follow;
  follow.set_name(CreateJob().name());
  v1::WatchJobResponse event;
  auto context = Context();
  auto reader = jobs_stub_->WatchJob(context.get(), follow);
  EXPECT_TRUE(reader->Read(&event));
  for (auto& one : contexts) one->TryCancel();
  context->TryCancel();
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

#include <gmock/gmock.h>

#include <set>
#include <thread>

#include "tests/server/api/api_test_base.h"

namespace quant {
namespace {

class JobServiceTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    Start();
  }
  v1::ListJobsResponse List(const v1::ListJobsRequest& request) {
    v1::ListJobsResponse response;
    grpc::Status status =
        jobs_stub_->ListJobs(Context().get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  v1::Job Get(const std::string& name) {
    v1::GetJobRequest request;
    request.set_name(name);
    v1::Job job;
    grpc::Status status = jobs_stub_->GetJob(Context().get(), request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }
};

TEST_F(JobServiceTest, CreatedJobIsWholeAndCanBeRead) {
  v1::CreateJobRequest request = GoodRequest();
  (*request.mutable_labels())["team"] = "a";
  const v1::Job job = CreateJob(request);
  EXPECT_THAT(job.name(), testing::StartsWith("jobs/"));
  EXPECT_EQ(job.state(), v1::Job::QUEUED);
  EXPECT_EQ(job.attempt(), 0);
  EXPECT_EQ(job.max_attempts(), options_.max_attempts);
  EXPECT_EQ(job.queue().position(), 0);
  EXPECT_GT(job.event_sequence(), 0);
  EXPECT_FALSE(job.etag().empty());
  EXPECT_FALSE(job.uid().empty());
  EXPECT_GT(job.create_time().seconds(), 0);
  EXPECT_FALSE(job.has_start_time());
  EXPECT_EQ(job.labels().at("team"), "a");
  // Defaults are filled in.
  EXPECT_EQ(job.spec().outputs(0).recipe().method(), "rtn");
  EXPECT_EQ(Get(job.name()).SerializeAsString(), job.SerializeAsString());
  EXPECT_EQ(CreateJob().queue().position(), 1);
}

TEST_F(JobServiceTest, ValidateOnlyStoresNothing) {
  v1::CreateJobRequest request = GoodRequest();
  request.set_validate_only(true);
  request.set_request_id("dry");
  const v1::Job job = CreateJob(request);
  EXPECT_EQ(job.name(), "");
  EXPECT_EQ(job.spec().outputs_size(), 1);
  EXPECT_EQ(List({}).jobs_size(), 0);
}

TEST_F(JobServiceTest, SameRequestIdIsTheSameJob) {
  v1::CreateJobRequest request = GoodRequest();
  request.set_request_id("ci:build/42");
  const v1::Job first = CreateJob(request);
  EXPECT_EQ(CreateJob(request).name(), first.name());
  // The default, spelled out, is the same request.
  request.mutable_spec()->mutable_outputs(0)->mutable_recipe()->set_method(
      "rtn");
  EXPECT_EQ(CreateJob(request).name(), first.name());
  (*request.mutable_labels())["k"] = "v";
  v1::Job job;
  ExpectError(jobs_stub_->CreateJob(Context().get(), request, &job),
              grpc::INVALID_ARGUMENT, "REQUEST_ID_REUSED");
  EXPECT_EQ(List({}).jobs_size(), 1);
}

TEST_F(JobServiceTest, ManyAtOnceWithOneRequestIdMakeOneJob) {
  v1::CreateJobRequest request = GoodRequest();
  request.set_request_id("race");
  std::mutex mutex;
  std::set<std::string> names;
  std::vector<std::thread> threads;
  for (int i = 0; i < 32; ++i) {
    threads.emplace_back([&] {
      v1::Job job = CreateJob(request);
      std::lock_guard lock(mutex);
      names.insert(job.name());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(names.size(), 1);
  EXPECT_EQ(List({}).jobs_size(), 1);
}

TEST_F(JobServiceTest, PagesAreCompleteAndStable) {
  std::vector<std::string> created;
  for (int i = 0; i < 7; ++i) created.push_back(CreateJob().name());
  v1::ListJobsRequest request;
  request.set_page_size(3);
  std::vector<std::string> listed;
  for (int page = 0;; ++page) {
    ASSERT_LT(page, 4);
    v1::ListJobsResponse response = List(request);
    for (const v1::Job& job : response.jobs()) listed.push_back(job.name());
    if (response.next_page_token().empty()) break;
    EXPECT_EQ(response.jobs_size(), 3);
    request.set_page_token(response.next_page_token());
    // New jobs appear at the front only.
    CreateJob();
  }
  std::reverse(created.begin(), created.end());
  EXPECT_EQ(listed, created);
}

TEST_F(JobServiceTest, ExactlyFullLastPageHasNoToken) {
  for (int i = 0; i < 4; ++i) CreateJob();
  v1::ListJobsRequest request;
  request.set_page_size(2);
  v1::ListJobsResponse first = List(request);
  ASSERT_FALSE(first.next_page_token().empty());
  request.set_page_token(first.next_page_token());
  v1::ListJobsResponse second = List(request);
  EXPECT_EQ(second.jobs_size(), 2);
  EXPECT_TRUE(second.next_page_token().empty());
}

TEST_F(JobServiceTest, TokensBelongToTheirFilterAndServer) {
  for (int i = 0; i < 3; ++i) CreateJob();
  v1::ListJobsRequest request;
  request.set_page_size(1);
  const std::string token = List(request).next_page_token();
  v1::ListJobsResponse response;
  request.set_page_token(token);
  request.add_states(v1::Job::QUEUED);
  ExpectError(jobs_stub_->ListJobs(Context().get(), request, &response),
              grpc::INVALID_ARGUMENT, "PAGE_TOKEN_INVALID");
  request.clear_states();
  for (size_t i = 0; i < token.size(); i += 5) {
    std::string forged = token;
    forged[i] = forged[i] == 'A' ? 'B' : 'A';
    request.set_page_token(forged);
    EXPECT_FALSE(jobs_stub_->ListJobs(Context().get(), request, &response).ok())
        << i;
  }
  // A token of jobs is none of artifacts.
  v1::ListArtifactsRequest other;
  other.set_page_token(token);
  v1::ListArtifactsResponse artifacts;
  ExpectError(
      artifacts_stub_->ListArtifacts(Context().get(), other, &artifacts),
      grpc::INVALID_ARGUMENT, "PAGE_TOKEN_INVALID");
}

TEST_F(JobServiceTest, FiltersByStateAndLabel) {
  v1::CreateJobRequest request = GoodRequest();
  (*request.mutable_labels())["team"] = "a";
  const std::string labelled = CreateJob(request).name();
  const std::string other = CreateJob().name();
  v1::CancelJobRequest cancel;
  cancel.set_name(other);
  v1::Job job;
  ASSERT_TRUE(jobs_stub_->CancelJob(Context().get(), cancel, &job).ok());
  EXPECT_EQ(job.state(), v1::Job::CANCELLED);
  v1::ListJobsRequest list;
  list.add_states(v1::Job::CANCELLED);
  ASSERT_EQ(List(list).jobs_size(), 1);
  EXPECT_EQ(List(list).jobs(0).name(), other);
  v1::ListJobsRequest by_label;
  (*by_label.mutable_labels())["team"] = "a";
  ASSERT_EQ(List(by_label).jobs_size(), 1);
  EXPECT_EQ(List(by_label).jobs(0).name(), labelled);
  (*by_label.mutable_labels())["team"] = "b";
  EXPECT_EQ(List(by_label).jobs_size(), 0);
}

TEST_F(JobServiceTest, LifeOfACancelledJob) {
  const v1::Job job = CreateJob();
  v1::CancelJobRequest cancel;
  cancel.set_name(job.name());
  cancel.set_etag("\"0\"");
  v1::Job out;
  ExpectError(jobs_stub_->CancelJob(Context().get(), cancel, &out),
              grpc::ABORTED, "ETAG_MISMATCH");
  cancel.set_etag(job.etag());
  ASSERT_TRUE(jobs_stub_->CancelJob(Context().get(), cancel, &out).ok());
  EXPECT_EQ(out.state(), v1::Job::CANCELLED);
  EXPECT_TRUE(out.has_end_time());
  // Again is harmless.
  cancel.clear_etag();
  ASSERT_TRUE(jobs_stub_->CancelJob(Context().get(), cancel, &out).ok());
  v1::RetryJobRequest retry;
  retry.set_name(job.name());
  ASSERT_TRUE(jobs_stub_->RetryJob(Context().get(), retry, &out).ok());
  EXPECT_EQ(out.state(), v1::Job::QUEUED);
  v1::DeleteJobRequest del;
  del.set_name(job.name());
  google::protobuf::Empty empty;
  ExpectError(jobs_stub_->DeleteJob(Context().get(), del, &empty),
              grpc::FAILED_PRECONDITION, "JOB_NOT_TERMINAL");
  ASSERT_TRUE(jobs_stub_->CancelJob(Context().get(), cancel, &out).ok());
  ASSERT_TRUE(jobs_stub_->DeleteJob(Context().get(), del, &empty).ok());
  v1::GetJobRequest get;
  get.set_name(job.name());
  ExpectError(jobs_stub_->GetJob(Context().get(), get, &out), grpc::NOT_FOUND,
              "JOB_NOT_FOUND");
}

TEST_F(JobServiceTest, SucceededJobsAreNotRetried) {
  const v1::Job job = CreateJob();
  Finish(Claim(), Outcome::kSucceeded);
  EXPECT_EQ(Get(job.name()).state(), v1::Job::SUCCEEDED);
  v1::RetryJobRequest retry;
  retry.set_name(job.name());
  v1::Job out;
  ExpectError(jobs_stub_->RetryJob(Context().get(), retry, &out),
              grpc::FAILED_PRECONDITION, "JOB_SUCCEEDED");
}

TEST_F(JobServiceTest, PlanIsExactAndCachedPlansFollowTheSource) {
  v1::PlanJobRequest request;
  *request.mutable_spec() = GoodRequest().spec();
  v1::JobPlan plan;
  ASSERT_TRUE(jobs_stub_->PlanJob(Context().get(), request, &plan).ok());
  ASSERT_EQ(plan.outputs_size(), 1);
  EXPECT_GT(plan.outputs(0).total_bytes(), 0);
  EXPECT_GT(plan.memory_bound_bytes(), 0);
  EXPECT_NE(planner_->Cached(request.spec()), nullptr);

  // A copy that changes: what was planned for the old one is not used.
  namespace fs = std::filesystem;
  fs::copy(fs::path(QUANT_SOURCE_DIR) / "examples/tiny-own-pad768-bf16",
           temp_ / "models/copy");
  request.mutable_spec()->mutable_source()->set_server_path("copy");
  ASSERT_TRUE(jobs_stub_->PlanJob(Context().get(), request, &plan).ok());
  EXPECT_NE(planner_->Cached(request.spec()), nullptr);
  fs::resize_file(temp_ / "models/copy/model.safetensors", 1000);
  EXPECT_EQ(planner_->Cached(request.spec()), nullptr);
  ExpectError(jobs_stub_->PlanJob(Context().get(), request, &plan),
              grpc::DATA_LOSS, "MODEL_MALFORMED");
}

TEST_F(JobServiceTest, FullQueueOfCallsIsAnAnswer) {
  // Both compute threads and the whole queue behind them are taken.
  std::promise<void> release;
  std::shared_future<void> gate = release.get_future().share();
  std::promise<void> started[2];
  for (std::promise<void>& busy : started) {
    ASSERT_TRUE(compute_
                    ->Submit([gate, &busy] {
                      busy.set_value();
                      gate.wait();
                    })
                    .ok());
  }
  for (std::promise<void>& busy : started) busy.get_future().wait();
  while (compute_->Submit([gate] { gate.wait(); }).ok()) {
  }
  v1::PlanJobRequest request;
  *request.mutable_spec() = GoodRequest().spec();
  v1::JobPlan plan;
  grpc::Status status = jobs_stub_->PlanJob(Context().get(), request, &plan);
  ExpectError(status, grpc::RESOURCE_EXHAUSTED, "QUEUE_FULL");
  EXPECT_TRUE(DetailsOf(status).has_retry_info);
  // What needs no computing goes on.
  EXPECT_EQ(List({}).jobs_size(), 0);
  release.set_value();
}

}  // namespace
}  // namespace quant

// The queue's mode over the wire, and what jobs show of their place in it.
#include <gmock/gmock.h>

#include "quant/v1/queue.grpc.pb.h"
#include "quant/worker/v1/attempt.pb.h"
#include "tests/server/api/access_test_base.h"

namespace quant {
namespace {

class QueueServiceTest : public ApiTest {
 protected:
  void Serve() {
    Start();
    stub_ = v1::QueueService::NewStub(channel_);
  }
  template <typename Request>
  v1::Queue Call(grpc::Status (v1::QueueService::Stub::*call)(
                     grpc::ClientContext*, const Request&, v1::Queue*),
                 grpc::ClientContext* context) {
    v1::Queue queue;
    const grpc::Status status =
        (stub_.get()->*call)(context, Request(), &queue);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return queue;
  }
  v1::Queue Get() {
    return Call(&v1::QueueService::Stub::GetQueue, Context().get());
  }
  v1::Queue Pause() {
    return Call(&v1::QueueService::Stub::PauseQueue, Context().get());
  }
  v1::Queue Drain() {
    return Call(&v1::QueueService::Stub::DrainQueue, Context().get());
  }
  v1::Queue Resume() {
    return Call(&v1::QueueService::Stub::ResumeQueue, Context().get());
  }
  v1::Job GetJob(const std::string& name) {
    v1::GetJobRequest request;
    request.set_name(name);
    v1::Job job;
    EXPECT_TRUE(jobs_stub_->GetJob(Context().get(), request, &job).ok());
    return job;
  }

  std::unique_ptr<v1::QueueService::Stub> stub_;
};

TEST_F(QueueServiceTest, Modes) {
  Serve();
  EXPECT_EQ(Get().mode(), v1::Queue::OPEN);
  EXPECT_FALSE(Get().has_mode_time());
  CreateJob();
  const JobRecord running = Claim();
  const v1::Job waiting = CreateJob();
  EXPECT_FALSE(waiting.queue().paused());
  const v1::Queue paused = Pause();
  EXPECT_EQ(paused.mode(), v1::Queue::PAUSED);
  EXPECT_TRUE(paused.has_mode_time());
  EXPECT_EQ(paused.queued(), 1);
  EXPECT_EQ(paused.running(), 1);
  EXPECT_TRUE(paused.has_oldest_create_time());
  EXPECT_FALSE(paused.has_mean_attempt());
  EXPECT_EQ(Get().SerializeAsString(), paused.SerializeAsString());
  EXPECT_TRUE(GetJob(waiting.name()).queue().paused());
  EXPECT_EQ(Drain().mode(), v1::Queue::DRAINING);
  Finish(running, Outcome::kSucceeded);
  const v1::Queue open = Resume();
  EXPECT_EQ(open.mode(), v1::Queue::OPEN);
  EXPECT_EQ(open.running(), 0);
  EXPECT_TRUE(open.has_mean_attempt());
  EXPECT_EQ("jobs/" + Claim().id, waiting.name());
  EXPECT_FALSE(Get().has_oldest_create_time());
}

TEST_F(QueueServiceTest, JobsShowTheirPlaceAndWhenTheyMayStart) {
  options_.heartbeat_micros = 50'000;
  Serve();
  CreateJob();
  Finish(Claim(), Outcome::kSucceeded);
  CreateJob();
  Claim();
  CreateJob();
  const v1::Job last = CreateJob();
  EXPECT_EQ(last.queue().position(), 1);
  EXPECT_TRUE(last.queue().has_estimated_start_time());
  EXPECT_TRUE(GetJob(last.name()).queue().has_estimated_start_time());
  v1::WatchJobRequest request;
  request.set_name(last.name());
  auto context = Context();
  auto reader = jobs_stub_->WatchJob(context.get(), request);
  v1::WatchJobResponse event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.job().queue().position(), 1);
  Claim();
  do {
    ASSERT_TRUE(reader->Read(&event));
    ASSERT_EQ(event.kind(), v1::WatchJobResponse::HEARTBEAT);
  } while (event.queue().position() != 0);
  EXPECT_TRUE(event.has_queue());
  EXPECT_TRUE(event.queue().has_estimated_start_time());
  Claim();
  do {
    ASSERT_TRUE(reader->Read(&event));
  } while (event.kind() != v1::WatchJobResponse::HEARTBEAT);
  EXPECT_FALSE(event.has_queue()) << "it runs";
  context->TryCancel();
}

TEST_F(QueueServiceTest, ARepeatIsAnsweredWhateverSpeaksAgainstANewJob) {
  Serve();
  v1::CreateJobRequest request = GoodRequest();
  request.set_request_id("once");
  const std::string name = CreateJob(request).name();
  server_->Shutdown(1'000'000);
  options_.memory_limit_bytes = 1;
  Listen();
  EXPECT_EQ(CreateJob(request).name(), name);
  request.set_request_id("twice");
  v1::Job job;
  for (bool validate_only : {false, true}) {
    request.set_validate_only(validate_only);
    ExpectError(jobs_stub_->CreateJob(Context().get(), request, &job),
                grpc::FAILED_PRECONDITION, "PLAN_REFUSED");
  }
}

TEST_F(QueueServiceTest, ScheduleOfASpec) {
  const std::atomic<int64_t> default_kept = 3'600'000'000;
  options_.retention_micros = &default_kept;
  Serve();
  const auto refused = [&](const std::function<void(v1::JobSpec&)>& change,
                           const std::string& field) {
    v1::CreateJobRequest request = GoodRequest();
    change(*request.mutable_spec());
    v1::Job job;
    const grpc::Status status =
        jobs_stub_->CreateJob(Context().get(), request, &job);
    ExpectError(status, grpc::INVALID_ARGUMENT, "INVALID_SPEC");
    EXPECT_EQ(DetailsOf(status).field, field);
  };
  refused([](v1::JobSpec& s) { s.mutable_timeout()->set_seconds(-1); },
          "spec.timeout");
  refused([](v1::JobSpec& s) { s.mutable_retention()->set_nanos(1); },
          "spec.retention");
  refused(
      [](v1::JobSpec& s) {
        s.set_priority(static_cast<v1::JobSpec::Priority>(9));
      },
      "spec.priority");
  CreateJob();
  Finish(Claim(), Outcome::kPermanentFailure);
  v1::CreateJobRequest request = GoodRequest();
  request.mutable_spec()->mutable_retention()->set_seconds(10);
  request.mutable_spec()->set_priority(v1::JobSpec::URGENT);
  const v1::Job own = CreateJob(request);
  EXPECT_FALSE(own.has_expire_time());
  const JobRecord claimed = Claim();
  EXPECT_EQ(claimed.priority, v1::JobSpec::URGENT);
  Finish(claimed, Outcome::kSucceeded);
  v1::ListJobsResponse jobs;
  ASSERT_TRUE(jobs_stub_->ListJobs(Context().get(), {}, &jobs).ok());
  ASSERT_EQ(jobs.jobs_size(), 2);
  const auto kept = [](const v1::Job& job) {
    return job.expire_time().seconds() - job.end_time().seconds();
  };
  EXPECT_EQ(kept(jobs.jobs(0)), 10);
  EXPECT_EQ(kept(jobs.jobs(1)), 3600);
}

TEST_F(QueueServiceTest, ListsLeaveTheEscalationToGetJob) {
  Serve();
  const std::string name = CreateJob().name();
  const JobRecord claimed = Claim();
  worker::v1::AttemptResult result;
  result.add_escalation()->set_output("out");
  FinishRequest finish = {.id = claimed.id,
                          .lease_token = claimed.lease_token,
                          .result = result.SerializeAsString()};
  Answered<JobRecord> answer;
  jobs_->Finish(finish, answer.callback());
  ASSERT_TRUE(answer.Get().ok());
  EXPECT_EQ(GetJob(name).escalation_size(), 1);
  v1::ListJobsResponse jobs;
  ASSERT_TRUE(jobs_stub_->ListJobs(Context().get(), {}, &jobs).ok());
  EXPECT_EQ(jobs.jobs(0).escalation_size(), 0);
}

TEST_F(AuthApiTest, WhoChangesTheModeIsNamed) {
  const auto stub = v1::QueueService::NewStub(channel_);
  v1::Queue queue;
  ASSERT_TRUE(stub->PauseQueue(As("operator").get(), {}, &queue).ok());
  EXPECT_EQ(queue.mode_by(), "operator");
  v1::Job job;
  ASSERT_TRUE(
      jobs_stub_->CreateJob(As("submitter").get(), GoodRequest(), &job).ok());
  ExpectError(stub->ResumeQueue(As("submitter").get(), {}, &queue),
              grpc::PERMISSION_DENIED, "PERMISSION_DENIED");
  ASSERT_TRUE(stub->ResumeQueue(As("admin").get(), {}, &queue).ok());
  EXPECT_EQ(queue.mode_by(), "admin");
  EXPECT_EQ(queue.queued(), 1) << "of any tenant";
}

}  // namespace
}  // namespace quant

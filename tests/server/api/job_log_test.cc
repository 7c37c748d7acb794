// The log of a job through ByteStream, while it grows and afterwards.
#include <gmock/gmock.h>

#include <thread>

#include "tests/server/api/access_test_base.h"

namespace quant {
namespace {

using google::bytestream::QueryWriteStatusRequest;
using google::bytestream::QueryWriteStatusResponse;
using google::bytestream::ReadRequest;
using google::bytestream::ReadResponse;
using testing::HasSubstr;

constexpr char kTraceparent[] =
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
constexpr char kTraceId[] = "4bf92f3577b34da6a3ce929d0e0e4736";

class JobLogTest : public AuthApiTest {
 protected:
  v1::Job Create(const std::string& traceparent = "") {
    auto context = As("submitter");
    if (!traceparent.empty()) context->AddMetadata("traceparent", traceparent);
    v1::Job job;
    const grpc::Status status =
        jobs_stub_->CreateJob(context.get(), GoodRequest(), &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }
  std::string IdOf(const v1::Job& job) { return job.name().substr(5); }

  struct Stream {
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<grpc::ClientReader<ReadResponse>> reader;
    int empty = 0;

    // Blocks for the next bytes; nothing at the end.
    std::string Next() {
      ReadResponse response;
      while (reader->Read(&response)) {
        if (!response.data().empty()) return response.data();
        ++empty;
      }
      return "";
    }
    std::string Rest() {
      std::string all;
      for (std::string more = Next(); !more.empty(); more = Next()) all += more;
      return all;
    }
  };
  Stream Read(const v1::Job& job, int64_t offset = 0, int64_t limit = 0,
              const std::string& caller = "viewer") {
    ReadRequest request;
    request.set_resource_name(job.log());
    request.set_read_offset(offset);
    request.set_read_limit(limit);
    Stream stream;
    stream.context = As(caller);
    stream.reader = bytes_stub_->Read(stream.context.get(), request);
    return stream;
  }
  QueryWriteStatusResponse Status(const v1::Job& job,
                                  const std::string& caller = "viewer") {
    QueryWriteStatusRequest request;
    request.set_resource_name(job.log());
    QueryWriteStatusResponse response;
    const grpc::Status status =
        bytes_stub_->QueryWriteStatus(As(caller).get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
};

class QuickHeartbeats : public JobLogTest {
 protected:
  QuickHeartbeats() { options_.heartbeat_micros = 50'000; }
};

TEST_F(QuickHeartbeats, FollowsTheJobToItsEnd) {
  const v1::Job job = Create();
  EXPECT_EQ(job.log(), job.name() + "/log");
  EXPECT_EQ(Status(job).committed_size(), 0);
  Stream stream = Read(job);
  ReadResponse sign;
  ASSERT_TRUE(stream.reader->Read(&sign)) << "it waits";
  EXPECT_EQ(sign.data(), "");
  const JobRecord claimed = Claim();
  {
    JobLogs::Writer writer(*logs_, {.job_id = IdOf(job)});
    EXPECT_THAT(stream.Next(), HasSubstr("job_created"));
    writer.Note(LogLevel::kInfo, "first");
    EXPECT_THAT(stream.Next(), HasSubstr("first"));
    const int64_t size = Status(job).committed_size();
    EXPECT_GT(size, 0);
    EXPECT_FALSE(Status(job).complete());
    // What is there now, and no waiting.
    Stream now = Read(job, 0, size);
    EXPECT_EQ(static_cast<int64_t>(now.Rest().size()), size);
    EXPECT_TRUE(now.reader->Finish().ok());
    // The job has ended, but its attempt has more to say.
    Finish(claimed, Outcome::kSucceeded);
    EXPECT_FALSE(Status(job).complete());
    writer.Note(LogLevel::kInfo, "last");
    EXPECT_THAT(stream.Next(), HasSubstr("last"));
  }
  EXPECT_EQ(stream.Next(), "");
  EXPECT_TRUE(stream.reader->Finish().ok());
  EXPECT_TRUE(Status(job).complete());
  Stream again = Read(job);
  EXPECT_EQ(static_cast<int64_t>(again.Rest().size()),
            Status(job).committed_size());
  EXPECT_TRUE(again.reader->Finish().ok());
}

TEST_F(JobLogTest, OffsetsPastTheEndWaitForIt) {
  const v1::Job job = Create();
  Stream stream = Read(job, 150);
  const JobRecord claimed = Claim();
  {
    JobLogs::Writer writer(*logs_, {.job_id = IdOf(job)});
    writer.Note(LogLevel::kInfo, "first");
    Finish(claimed, Outcome::kSucceeded);
  }
  const std::string all = *logs_->Read(IdOf(job), 0, 1 << 20);
  EXPECT_EQ(stream.Rest(), all.substr(150));
  EXPECT_TRUE(stream.reader->Finish().ok());
  const auto size = static_cast<int64_t>(all.size());
  Stream at_end = Read(job, size);
  EXPECT_EQ(at_end.Rest(), "");
  EXPECT_TRUE(at_end.reader->Finish().ok());
  for (const auto& [offset, limit] :
       {std::pair<int64_t, int64_t>{size + 1, 0}, {-1, 0}, {0, -1}}) {
    Stream bad = Read(job, offset, limit);
    EXPECT_EQ(bad.Rest(), "");
    ExpectError(bad.reader->Finish(), grpc::OUT_OF_RANGE, "OFFSET_INVALID");
  }
}

TEST_F(JobLogTest, IsTheTenants) {
  const v1::Job job = Create();
  Stream stranger = Read(job, 0, 0, "stranger");
  EXPECT_EQ(stranger.Rest(), "");
  ExpectError(stranger.reader->Finish(), grpc::NOT_FOUND, "JOB_NOT_FOUND");
  QueryWriteStatusRequest request;
  request.set_resource_name(job.log());
  QueryWriteStatusResponse response;
  ExpectError(bytes_stub_->QueryWriteStatus(As("stranger").get(), request,
                                            &response),
              grpc::NOT_FOUND, "JOB_NOT_FOUND");
  EXPECT_EQ(Status(job, "admin").committed_size(), 0);
  v1::Job none;
  for (const char* name : {"jobs/x/log", "jobs//log", "jobs/../log"}) {
    none.set_log(name);
    Stream stream = Read(none);
    EXPECT_EQ(stream.Rest(), "");
    EXPECT_FALSE(stream.reader->Finish().ok()) << name;
  }
}

TEST_F(JobLogTest, GoesWithTheJob) {
  const v1::Job job = Create();
  Stream stream = Read(job);
  v1::CancelJobRequest cancel;
  cancel.set_name(job.name());
  v1::Job response;
  auto context = As("submitter");
  context->AddMetadata("traceparent", kTraceparent);
  ASSERT_TRUE(jobs_stub_->CancelJob(context.get(), cancel, &response).ok());
  const std::string all = stream.Rest();
  EXPECT_TRUE(stream.reader->Finish().ok());
  EXPECT_THAT(all, HasSubstr("\"event\":\"cancel_requested\""));
  EXPECT_THAT(all, HasSubstr("\"principal\":\"submitter\""));
  EXPECT_THAT(all, HasSubstr(kTraceId));
  // Nothing is changed, and nothing is said.
  ASSERT_TRUE(
      jobs_stub_->CancelJob(As("submitter").get(), cancel, &response).ok());
  EXPECT_EQ(Status(job).committed_size(), static_cast<int64_t>(all.size()));
  v1::DeleteJobRequest remove;
  remove.set_name(job.name());
  google::protobuf::Empty empty;
  ASSERT_TRUE(
      jobs_stub_->DeleteJob(As("submitter").get(), remove, &empty).ok());
  Stream gone = Read(job);
  EXPECT_EQ(gone.Rest(), "");
  ExpectError(gone.reader->Finish(), grpc::NOT_FOUND, "JOB_NOT_FOUND");
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!logs_->Ids()->empty()) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    std::this_thread::yield();
  }
}

TEST_F(JobLogTest, JobsCarryTheTraceOfWhoMadeThem) {
  const v1::Job traced = Create(kTraceparent);
  EXPECT_EQ(traced.trace_id(), kTraceId);
  EXPECT_EQ(jobs_->Get(IdOf(traced))->traceparent, kTraceparent);
  // One of its own, where none came that could be read.
  const v1::Job plain = Create();
  EXPECT_THAT(plain.trace_id(), testing::MatchesRegex("[0-9a-f]{32}"));
  for (const std::string bad :
       {std::string("00-zz-1-01"), std::string(4000, '0'),
        std::string(kTraceparent) + "-x"}) {
    const v1::Job job = Create(bad);
    EXPECT_THAT(job.trace_id(), testing::MatchesRegex("[0-9a-f]{32}"));
    EXPECT_NE(job.trace_id(), kTraceId);
  }
  auto twice = As("submitter");
  twice->AddMetadata("traceparent", kTraceparent);
  twice->AddMetadata("traceparent", kTraceparent);
  v1::Job job;
  ASSERT_TRUE(jobs_stub_->CreateJob(twice.get(), GoodRequest(), &job).ok());
  EXPECT_NE(job.trace_id(), kTraceId);
}

}  // namespace
}  // namespace quant

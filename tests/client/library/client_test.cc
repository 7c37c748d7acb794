// Calls, their errors, and what happens when nobody answers.
#include "client/library/client.h"

#include <gtest/gtest.h>

#include <stop_token>
#include <thread>

#include "client/library/errors.h"
#include "client/library/watch.h"
#include "core/base/error.h"
#include "google/rpc/error_details.pb.h"
#include "tests/client/library/server_test_base.h"

namespace quant {
namespace {

using std::chrono::milliseconds;

class ClientTest : public ServerTest {};

TEST_F(ClientTest, AJobFromSubmitToDelete) {
  StartServer();
  const auto client = Connect();
  EXPECT_EQ(client->Health().value_or(false), true);
  v1::CreateJobRequest request = BundledJob();
  (*request.mutable_labels())["team"] = "a";
  const auto job = client->Submit(request);
  ASSERT_TRUE(job.ok()) << job.status();
  const auto done = Watch(*client, job->name());
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->state(), v1::Job::SUCCEEDED);
  EXPECT_EQ(client->Get(job->name())->etag(), done->etag());

  v1::ListJobsRequest list;
  (*list.mutable_labels())["team"] = "a";
  EXPECT_EQ(client->List(list)->jobs_size(), 1);
  (*list.mutable_labels())["team"] = "b";
  EXPECT_EQ(client->List(list)->jobs_size(), 0);

  EXPECT_EQ(client->GetArtifact(done->artifacts(0))->job(), job->name());
  ASSERT_TRUE(client->DeleteArtifact(done->artifacts(0)).ok());
  EXPECT_EQ(GetReason(client->GetArtifact(done->artifacts(0)).status()),
            Reason::kArtifactNotFound);
  ASSERT_TRUE(client->Delete(job->name()).ok());
  EXPECT_EQ(GetReason(client->Get(job->name()).status()), Reason::kJobNotFound);
}

TEST_F(ClientTest, ErrorsCarryReasonAndField) {
  StartServer();
  const auto client = Connect();
  v1::CreateJobRequest request = BundledJob();
  request.mutable_spec()->mutable_outputs(0)->mutable_recipe()->set_scheme(
      "W4A61");
  const absl::Status unknown = client->Submit(request).status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetReason(unknown), Reason::kUnknownName);
  EXPECT_EQ(GetField(unknown), "spec.outputs[0].recipe.scheme");
  EXPECT_NE(unknown.message().find("\"W4A16\""), absl::string_view::npos);

  const absl::Status missing = client->Get("jobs/nope").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(GetReason(missing), Reason::kJobNotFound);
}

TEST_F(ClientTest, QuestionsAreAnswered) {
  StartServer();
  const auto client = Connect();
  EXPECT_GT(client->Capabilities()->schemes_size(), 5);
  const v1::JobSpec spec = BundledJob().spec();
  EXPECT_GT(client->Plan(spec)->outputs(0).total_bytes(), 0);
  v1::InspectModelRequest inspect;
  *inspect.mutable_source() = spec.source();
  EXPECT_GT(client->Inspect(inspect)->tensors_size(), 0);
  v1::QuantizeTensorRequest tensor;
  tensor.add_values(1);
  tensor.add_values(-2);
  tensor.mutable_recipe()->set_scheme("W8A16");
  EXPECT_EQ(client->Tensor(tensor)->codes_size(), 2);
}

TEST_F(ClientTest, NobodyListens) {
  StartServer();
  const auto client = Connect({.retry_for = milliseconds(300)});
  KillServer();
  const absl::Status get = client->Get("jobs/x").status();
  EXPECT_EQ(get.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(get.message().find(proxy_->address()), absl::string_view::npos);
  EXPECT_EQ(client->Submit(BundledJob()).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(Watch(*client, "jobs/x").status().code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(ClientTest, SubmitOutlastsARestartAndMakesOneJob) {
  StartServer({"--workers", "0"});
  const auto client = Connect({.retry_for = milliseconds(60'000)});
  v1::CreateJobRequest request = BundledJob();
  request.set_request_id("once");
  const auto first = client->Submit(request);
  ASSERT_TRUE(first.ok()) << first.status();
  KillServer();
  absl::StatusOr<v1::Job> again;
  std::thread submit([&] { again = client->Submit(request); });
  StartServer({"--workers", "0"});
  submit.join();
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->name(), first->name());
  EXPECT_EQ(client->List({})->jobs_size(), 1);
}

TEST_F(ClientTest, SubmitStopsWhenAsked) {
  StartServer();
  const auto client = Connect({.retry_for = milliseconds(600'000)});
  KillServer();
  std::stop_source stop;
  absl::Status status;
  std::thread submit([&] {
    status = client->Submit(BundledJob(), stop.get_token()).status();
  });
  stop.request_stop();
  submit.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
}

TEST(ConnectTest, RefusesWhatCanNotWork) {
  EXPECT_EQ(Client::Connect("").status().code(),
            absl::StatusCode::kInvalidArgument);
  ClientOptions options;
  options.tls = TlsOptions{.ca_file = "/nonexistent/ca.pem"};
  EXPECT_EQ(Client::Connect("127.0.0.1:1", options).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(ErrorsTest, RetryInfoIsBoundedAndDecidesAboutExhaustion) {
  google::rpc::Status wire;
  wire.set_code(8);
  wire.set_message("full");
  google::rpc::ErrorInfo info;
  info.set_reason("QUEUE_FULL");
  wire.add_details()->PackFrom(info);
  EXPECT_FALSE(IsTransient(StatusFromWire(wire)));
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(int64_t{1} << 60);
  wire.add_details()->PackFrom(retry);
  const absl::Status status = StatusFromWire(wire);
  EXPECT_TRUE(IsTransient(status));
  EXPECT_EQ(GetReason(status), Reason::kQueueFull);
  EXPECT_EQ(RetryDelay(status), milliseconds(600'000));
  EXPECT_TRUE(StatusFromWire({}).ok());
}

}  // namespace
}  // namespace quant

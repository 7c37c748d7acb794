// Every rpc that can fail, failing: the code and the reason of the proto, with
// exactly one ErrorInfo.
#include <functional>
#include <set>

#include "tests/server/api/api_test_base.h"

namespace quant {
namespace {

using google::bytestream::QueryWriteStatusRequest;
using google::bytestream::QueryWriteStatusResponse;
using google::bytestream::ReadRequest;
using google::bytestream::ReadResponse;
using google::bytestream::WriteRequest;
using google::bytestream::WriteResponse;

class ErrorModelTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    Start();
  }

  grpc::Status Create(const std::function<void(v1::CreateJobRequest&)>& edit) {
    v1::CreateJobRequest request = GoodRequest();
    edit(request);
    v1::Job job;
    return jobs_stub_->CreateJob(Context().get(), request, &job);
  }

  void ExpectCreate(const std::function<void(v1::CreateJobRequest&)>& edit,
                    grpc::StatusCode code, const std::string& reason,
                    const std::string& field) {
    grpc::Status status = Create(edit);
    ExpectError(status, code, reason);
    EXPECT_EQ(DetailsOf(status).field, field) << status.error_message();
  }

  grpc::Status Watch(const std::string& name, int64_t after) {
    v1::WatchJobRequest request;
    request.set_name(name);
    request.set_after_sequence(after);
    auto context = Context();
    auto reader = jobs_stub_->WatchJob(context.get(), request);
    v1::WatchJobResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  }

  grpc::Status Read(const std::string& name, int64_t offset) {
    ReadRequest request;
    request.set_resource_name(name);
    request.set_read_offset(offset);
    auto context = Context();
    auto reader = bytes_stub_->Read(context.get(), request);
    ReadResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  }

  grpc::Status Write(const std::string& name) {
    WriteResponse response;
    auto context = Context();
    auto writer = bytes_stub_->Write(context.get(), &response);
    WriteRequest request;
    request.set_resource_name(name);
    writer->Write(request);
    writer->WritesDone();
    return writer->Finish();
  }
};

constexpr auto kInvalid = grpc::INVALID_ARGUMENT;

TEST_F(ErrorModelTest, CreateJobBlamesTheField) {
  using Request = v1::CreateJobRequest;
  ExpectCreate([](Request& r) { r.clear_spec(); }, kInvalid, "INVALID_SPEC",
               "spec");
  ExpectCreate([](Request& r) { r.mutable_spec()->clear_source(); }, kInvalid,
               "INVALID_SPEC", "spec.source");
  ExpectCreate([](Request& r) { r.mutable_spec()->clear_outputs(); }, kInvalid,
               "INVALID_SPEC", "spec.outputs");
  ExpectCreate(
      [](Request& r) {
        r.mutable_spec()->mutable_outputs(0)->mutable_recipe()->set_scheme(
            "W4A61");
      },
      kInvalid, "UNKNOWN_NAME", "spec.outputs[0].recipe.scheme");
  ExpectCreate(
      [](Request& r) {
        r.mutable_spec()->mutable_source()->set_server_path("/etc");
      },
      kInvalid, "SOURCE_NOT_ALLOWED", "spec.source.server_path");
  ExpectCreate([](Request& r) { r.set_request_id("has space"); }, kInvalid,
               "INVALID_SPEC", "request_id");
  ExpectCreate([](Request& r) { r.set_request_id(std::string(65, 'x')); },
               kInvalid, "INVALID_SPEC", "request_id");
  ExpectCreate([](Request& r) { (*r.mutable_labels())["BAD KEY"] = "x"; },
               kInvalid, "INVALID_SPEC", "labels");
  ExpectCreate(
      [](Request& r) { (*r.mutable_labels())["k"] = std::string(257, 'x'); },
      kInvalid, "INVALID_SPEC", "labels[k]");
  ExpectCreate(
      [](Request& r) {
        for (int i = 0; i < 65; ++i) {
          (*r.mutable_labels())["k" + std::to_string(i)] = "v";
        }
      },
      kInvalid, "INVALID_SPEC", "labels");
}

// What a loader won't take is refused at once, scheme or tensor.
TEST_F(ErrorModelTest, CreateJobAsksTheLoader) {
  const auto refused = [&](const std::function<void(v1::Recipe&)>& change,
                           grpc::StatusCode code, const std::string& reason,
                           const std::string& field) {
    v1::CreateJobRequest request = GoodRequest();
    change(*request.mutable_spec()->mutable_outputs(0)->mutable_recipe());
    v1::Job job;
    const grpc::Status status =
        jobs_stub_->CreateJob(Context().get(), request, &job);
    ExpectError(status, code, reason);
    EXPECT_EQ(DetailsOf(status).field, field) << status.error_message();
  };
  const std::string at = "spec.outputs[0].recipe.";
  refused([](v1::Recipe& r) { r.set_loader("vlm"); }, grpc::INVALID_ARGUMENT,
          "UNKNOWN_NAME", at + "loader");
  refused([](v1::Recipe& r) { r.set_loader("llama.cpp"); },
          grpc::INVALID_ARGUMENT, "UNSUPPORTED", at + "scheme");
  refused(
      [](v1::Recipe& r) {
        r.set_loader("llama.cpp");
        r.set_scheme("Q4_K_M");
        r.set_tensor_parallel(2);
      },
      grpc::INVALID_ARGUMENT, "INVALID_SPEC", at + "tensor_parallel");
  refused(
      [](v1::Recipe& r) {
        r.set_loader("vllm");
        r.set_scheme("W4A16");
        r.set_tensor_parallel(4);  // 256 inputs of o_proj, groups of 128
      },
      grpc::FAILED_PRECONDITION, "PLAN_REFUSED", "");
  v1::ListJobsResponse jobs;
  ASSERT_TRUE(jobs_stub_->ListJobs(Context().get(), {}, &jobs).ok());
  EXPECT_EQ(jobs.jobs_size(), 0);

  v1::CreateJobRequest request = GoodRequest();
  v1::Recipe& recipe =
      *request.mutable_spec()->mutable_outputs(0)->mutable_recipe();
  recipe.set_loader("vllm");
  recipe.set_scheme("W4A16");
  v1::PlanJobRequest plan_request;
  *plan_request.mutable_spec() = request.spec();
  v1::JobPlan plan;
  ASSERT_TRUE(jobs_stub_->PlanJob(Context().get(), plan_request, &plan).ok());
  EXPECT_EQ(plan.outputs(0).loader(), "vllm");
  ASSERT_EQ(plan.outputs(0).loader_notes_size(), 1);
  EXPECT_EQ(plan.outputs(0).loader_notes(0).verdict(), "yes");
  EXPECT_EQ(CreateJob(request).spec().outputs(0).recipe().loader(), "vllm");
}

TEST_F(ErrorModelTest, CreateJobNeedsItsSource) {
  auto missing = [](v1::CreateJobRequest& r) {
    r.mutable_spec()->mutable_source()->set_server_path("no-such-model");
  };
  ExpectError(Create(missing), grpc::FAILED_PRECONDITION, "SOURCE_MISSING");
  auto upload = [](v1::CreateJobRequest& r) {
    r.mutable_spec()->mutable_source()->set_upload("uploads/" +
                                                   std::string(32, 'a'));
  };
  ExpectError(Create(upload), grpc::FAILED_PRECONDITION, "SOURCE_MISSING");
}

TEST_F(ErrorModelTest, PlanJobAnswersAsCreateJob) {
  v1::PlanJobRequest request;
  v1::JobPlan plan;
  grpc::Status status = jobs_stub_->PlanJob(Context().get(), request, &plan);
  ExpectError(status, kInvalid, "INVALID_SPEC");
  *request.mutable_spec() = GoodRequest().spec();
  request.mutable_spec()->mutable_outputs(0)->mutable_recipe()->set_method(
      "rtm");
  status = jobs_stub_->PlanJob(Context().get(), request, &plan);
  ExpectError(status, kInvalid, "UNKNOWN_NAME");
  EXPECT_EQ(DetailsOf(status).field, "spec.outputs[0].recipe.method");
}

TEST_F(ErrorModelTest, UnknownNamesAreNotFound) {
  const std::vector<std::string> names = {"jobs/nope", "jobs/../../etc",
                                          "artifacts/x", "garbage"};
  for (const std::string& name : names) {
    v1::Job job;
    v1::GetJobRequest get;
    get.set_name(name);
    ExpectError(jobs_stub_->GetJob(Context().get(), get, &job), grpc::NOT_FOUND,
                "JOB_NOT_FOUND");
    v1::CancelJobRequest cancel;
    cancel.set_name(name);
    ExpectError(jobs_stub_->CancelJob(Context().get(), cancel, &job),
                grpc::NOT_FOUND, "JOB_NOT_FOUND");
    v1::RetryJobRequest retry;
    retry.set_name(name);
    ExpectError(jobs_stub_->RetryJob(Context().get(), retry, &job),
                grpc::NOT_FOUND, "JOB_NOT_FOUND");
    v1::DeleteJobRequest del;
    del.set_name(name);
    google::protobuf::Empty empty;
    ExpectError(jobs_stub_->DeleteJob(Context().get(), del, &empty),
                grpc::NOT_FOUND, "JOB_NOT_FOUND");
    ExpectError(Watch(name, 0), grpc::NOT_FOUND, "JOB_NOT_FOUND");
  }
}

TEST_F(ErrorModelTest, UnknownArtifactsAndUploadsAreNotFound) {
  for (const std::string name :
       {"artifacts/nope", "artifacts/../x", "jobs/1"}) {
    v1::Artifact artifact;
    v1::GetArtifactRequest get;
    get.set_name(name);
    ExpectError(artifacts_stub_->GetArtifact(Context().get(), get, &artifact),
                grpc::NOT_FOUND, "ARTIFACT_NOT_FOUND");
    v1::DeleteArtifactRequest del;
    del.set_name(name);
    google::protobuf::Empty empty;
    ExpectError(artifacts_stub_->DeleteArtifact(Context().get(), del, &empty),
                grpc::NOT_FOUND, "ARTIFACT_NOT_FOUND");
    ExpectError(Read(name + "/files/manifest.json", 0), grpc::NOT_FOUND,
                "ARTIFACT_NOT_FOUND");
  }
  v1::Upload upload;
  v1::GetUploadRequest get;
  get.set_name("uploads/nope");
  ExpectError(models_stub_->GetUpload(Context().get(), get, &upload),
              grpc::NOT_FOUND, "UPLOAD_NOT_FOUND");
  QueryWriteStatusRequest query;
  QueryWriteStatusResponse answer;
  query.set_resource_name("uploads/nope/blobs/x");
  ExpectError(bytes_stub_->QueryWriteStatus(Context().get(), query, &answer),
              grpc::NOT_FOUND, "BLOB_NOT_FOUND");
  ExpectError(Write("uploads/nope/blobs/x"), grpc::NOT_FOUND, "BLOB_NOT_FOUND");
}

TEST_F(ErrorModelTest, EmptyNamesAreInvalid) {
  v1::Job job;
  grpc::Status status =
      jobs_stub_->GetJob(Context().get(), v1::GetJobRequest(), &job);
  ExpectError(status, kInvalid, "INVALID_SPEC");
  EXPECT_EQ(DetailsOf(status).field, "name");
  ExpectError(Write(""), kInvalid, "INVALID_SPEC");
}

TEST_F(ErrorModelTest, ListsRefuseBadPages) {
  v1::ListJobsResponse jobs;
  v1::ListJobsRequest request;
  request.set_page_size(-1);
  ExpectError(jobs_stub_->ListJobs(Context().get(), request, &jobs), kInvalid,
              "INVALID_SPEC");
  request.set_page_size(0);
  request.set_page_token("AAAAAAAAAAAAAAAAAAAAAAAAAAAA");
  ExpectError(jobs_stub_->ListJobs(Context().get(), request, &jobs), kInvalid,
              "PAGE_TOKEN_INVALID");
  request.clear_page_token();
  request.add_states(static_cast<v1::Job::State>(42));
  ExpectError(jobs_stub_->ListJobs(Context().get(), request, &jobs), kInvalid,
              "INVALID_SPEC");
  v1::ListArtifactsResponse artifacts;
  v1::ListArtifactsRequest list;
  list.set_page_token("%%%");
  ExpectError(artifacts_stub_->ListArtifacts(Context().get(), list, &artifacts),
              kInvalid, "PAGE_TOKEN_INVALID");
  list.clear_page_token();
  list.set_job("not-a-job");
  ExpectError(artifacts_stub_->ListArtifacts(Context().get(), list, &artifacts),
              kInvalid, "INVALID_SPEC");
}

TEST_F(ErrorModelTest, ModelAndTensorRequestsAreChecked) {
  v1::Upload upload;
  ExpectError(models_stub_->CreateUpload(Context().get(),
                                         v1::CreateUploadRequest(), &upload),
              kInvalid, "INVALID_SPEC");
  v1::CreateUploadRequest bad;
  v1::UploadFile& file = *bad.add_files();
  file.set_path("../x");
  file.set_sha256(std::string(64, '0'));
  grpc::Status status =
      models_stub_->CreateUpload(Context().get(), bad, &upload);
  ExpectError(status, kInvalid, "INVALID_SPEC");
  EXPECT_EQ(DetailsOf(status).field, "files[0].path");
  v1::ModelInfo info;
  ExpectError(models_stub_->InspectModel(Context().get(),
                                         v1::InspectModelRequest(), &info),
              kInvalid, "INVALID_SPEC");
  v1::QuantizeTensorResponse tensor;
  v1::QuantizeTensorRequest request;
  request.add_values(1);
  request.mutable_recipe()->set_scheme("W4A61");
  ExpectError(tensors_stub_->QuantizeTensor(Context().get(), request, &tensor),
              kInvalid, "UNKNOWN_NAME");
}

TEST_F(ErrorModelTest, WatchChecksItsSequence) {
  const v1::Job job = CreateJob();
  ExpectError(Watch(job.name(), -1), kInvalid, "INVALID_SPEC");
  ExpectError(Watch(job.name(), job.event_sequence() + 1), grpc::OUT_OF_RANGE,
              "SEQUENCE_IN_FUTURE");
}

TEST_F(ErrorModelTest, UnknownHealthServiceIsNotFound) {
  grpc::health::v1::HealthCheckRequest request;
  grpc::health::v1::HealthCheckResponse response;
  request.set_service("no.such.Service");
  ExpectError(health_stub_->Check(Context().get(), request, &response),
              grpc::NOT_FOUND, "UNKNOWN_NAME");
}

TEST_F(ErrorModelTest, DrainingRefusesNewWorkAndServesReads) {
  const v1::Job job = CreateJob();
  streams_->BeginDrain();
  grpc::Status status = Create([](v1::CreateJobRequest&) {});
  ExpectError(status, grpc::UNAVAILABLE, "SERVER_DRAINING");
  EXPECT_TRUE(DetailsOf(status).has_retry_info);
  ExpectError(Watch(job.name(), 0), grpc::UNAVAILABLE, "SERVER_DRAINING");
  ExpectError(Write("uploads/x/blobs/y"), grpc::UNAVAILABLE, "SERVER_DRAINING");
  v1::GetJobRequest get;
  get.set_name(job.name());
  v1::Job found;
  EXPECT_TRUE(jobs_stub_->GetJob(Context().get(), get, &found).ok());
}

TEST_F(ErrorModelTest, LongMessagesFitTheMetadata) {
  // Quotes and bytes beyond ASCII grow when they travel.
  std::string nasty;
  for (int i = 0; i < 2000; ++i) nasty += "\xC3\xBC\"\n";
  grpc::Status status = Create([&](v1::CreateJobRequest& r) {
    r.mutable_spec()->mutable_outputs(0)->mutable_recipe()->set_scheme(nasty);
  });
  EXPECT_EQ(status.error_code(), kInvalid) << status.error_message();
  EXPECT_EQ(DetailsOf(status).error_infos, 1);
}

}  // namespace
}  // namespace quant

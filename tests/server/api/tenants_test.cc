// What one tenant has does not exist for another: by name, in lists, as bytes,
// and as the source of a job.
#include <gmock/gmock.h>

#include <fstream>

#include "core/base/digest.h"
#include "tests/server/api/access_test_base.h"

namespace quant {
namespace {

class TenantsTest : public AuthApiTest {
 protected:
  v1::Job CreateAs(const std::string& caller,
                   const v1::CreateJobRequest& request = GoodRequest()) {
    v1::Job job;
    const grpc::Status status =
        jobs_stub_->CreateJob(As(caller).get(), request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }
  std::vector<std::string> JobsOf(const std::string& caller,
                                  const v1::ListJobsRequest& request = {}) {
    v1::ListJobsResponse response;
    EXPECT_TRUE(
        jobs_stub_->ListJobs(As(caller).get(), request, &response).ok());
    std::vector<std::string> names;
    for (const v1::Job& job : response.jobs()) names.push_back(job.name());
    return names;
  }
  // An artifact of the job, as a worker publishes it.
  std::string PublishFor(const v1::Job& job, const std::string& tenant) {
    const std::string id = job.name().substr(std::string("jobs/").size());
    PublishRequest request = {
        .job_id = id,
        .output = "out",
        .directory = *artifacts_->WorkDirectory(id) + "/out",
        .files = {{"a.txt", 5, Sha256Hex("bytes")}},
        .tenant = tenant};
    std::filesystem::create_directories(request.directory);
    std::ofstream(request.directory + "/a.txt") << "bytes";
    return artifacts_->Publish(std::move(request))->id;
  }
  v1::Upload UploadAs(const std::string& caller, const std::string& bytes) {
    v1::CreateUploadRequest request;
    v1::UploadFile& file = *request.add_files();
    file.set_path("model.safetensors");
    file.set_size_bytes(static_cast<int64_t>(bytes.size()));
    file.set_sha256(Sha256Hex(bytes));
    v1::Upload upload;
    const grpc::Status status =
        models_stub_->CreateUpload(As(caller).get(), request, &upload);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return upload;
  }
  grpc::Status WriteAs(const std::string& caller, const v1::Upload& upload,
                       const std::string& bytes) {
    google::bytestream::WriteRequest request;
    request.set_resource_name(upload.name() + "/blobs/" + Sha256Hex(bytes));
    request.set_data(bytes);
    request.set_finish_write(true);
    google::bytestream::WriteResponse response;
    auto context = As(caller);
    auto writer = bytes_stub_->Write(context.get(), &response);
    writer->Write(request);
    writer->WritesDone();
    return writer->Finish();
  }
  grpc::Status ReadAs(const std::string& caller, const std::string& name) {
    google::bytestream::ReadRequest request;
    request.set_resource_name(name);
    google::bytestream::ReadResponse response;
    auto context = As(caller);
    auto reader = bytes_stub_->Read(context.get(), request);
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  }
  // Every call that names a job; each answers its status.
  std::vector<grpc::Status> CallsOnJob(const std::string& caller,
                                       const std::string& name) {
    v1::GetJobRequest get;
    v1::CancelJobRequest cancel;
    v1::RetryJobRequest retry;
    v1::DeleteJobRequest remove;
    v1::WatchJobRequest watch;
    get.set_name(name);
    cancel.set_name(name);
    retry.set_name(name);
    remove.set_name(name);
    watch.set_name(name);
    v1::Job job;
    google::protobuf::Empty empty;
    v1::WatchJobResponse event;
    auto context = As(caller);
    auto watcher = jobs_stub_->WatchJob(context.get(), watch);
    EXPECT_FALSE(watcher->Read(&event));
    return {jobs_stub_->GetJob(As(caller).get(), get, &job),
            jobs_stub_->CancelJob(As(caller).get(), cancel, &job),
            jobs_stub_->RetryJob(As(caller).get(), retry, &job),
            jobs_stub_->DeleteJob(As(caller).get(), remove, &empty),
            watcher->Finish()};
  }
};

TEST_F(TenantsTest, AJobOfAnotherTenantIsAnsweredLikeNone) {
  const v1::Job job = CreateAs("submitter");
  EXPECT_EQ(job.tenant(), "ours");
  EXPECT_EQ(job.created_by(), "submitter");
  std::string none = job.name();
  none.back() = none.back() == '0' ? '1' : '0';
  const auto foreign = CallsOnJob("stranger", job.name());
  const auto missing = CallsOnJob("stranger", none);
  for (size_t i = 0; i < foreign.size(); ++i) {
    ExpectError(foreign[i], grpc::NOT_FOUND, "JOB_NOT_FOUND");
    ExpectError(missing[i], grpc::NOT_FOUND, "JOB_NOT_FOUND");
    std::string text = missing[i].error_message();
    text.replace(text.find(none), none.size(), job.name());
    EXPECT_EQ(foreign[i].error_message(), text);
  }
  v1::GetJobRequest request;
  request.set_name(job.name());
  v1::Job seen;
  for (const char* caller : {"viewer", "admin"}) {
    EXPECT_TRUE(jobs_stub_->GetJob(As(caller).get(), request, &seen).ok());
  }
  EXPECT_EQ(seen.state(), v1::Job::QUEUED) << "nobody has touched it";
}

TEST_F(TenantsTest, ListsShowOnesOwn) {
  const std::string ours = CreateAs("submitter").name();
  const std::string theirs = CreateAs("stranger").name();
  EXPECT_THAT(JobsOf("viewer"), testing::ElementsAre(ours));
  EXPECT_THAT(JobsOf("stranger"), testing::ElementsAre(theirs));
  EXPECT_THAT(JobsOf("admin"), testing::ElementsAre(theirs, ours));
}

TEST_F(TenantsTest, APageTokenIsOfNoUseToOthers) {
  for (int i = 0; i < 3; ++i) CreateAs("submitter");
  v1::ListJobsRequest request;
  request.set_page_size(1);
  v1::ListJobsResponse page;
  ASSERT_TRUE(jobs_stub_->ListJobs(As("viewer").get(), request, &page).ok());
  request.set_page_token(page.next_page_token());
  EXPECT_TRUE(jobs_stub_->ListJobs(As("submitter").get(), request, &page).ok());
  for (const char* other : {"stranger", "admin"}) {
    ExpectError(jobs_stub_->ListJobs(As(other).get(), request, &page),
                grpc::INVALID_ARGUMENT, "PAGE_TOKEN_INVALID");
  }
}

TEST_F(TenantsTest, RequestIdsOfTenantsDontMeet) {
  v1::CreateJobRequest request = GoodRequest();
  request.set_request_id("build-1");
  const v1::Job ours = CreateAs("submitter", request);
  EXPECT_EQ(CreateAs("submitter", request).name(), ours.name());
  request.mutable_spec()->mutable_outputs(0)->mutable_recipe()->set_scheme(
      "W8A16");
  const v1::Job theirs = CreateAs("stranger", request);
  EXPECT_NE(theirs.name(), ours.name());
  EXPECT_EQ(theirs.tenant(), "theirs");
}

TEST_F(TenantsTest, ArtifactsAndTheirBytes) {
  const v1::Job job = CreateAs("submitter");
  const std::string id = PublishFor(job, "ours");
  v1::GetArtifactRequest get;
  get.set_name("artifacts/" + id);
  v1::DeleteArtifactRequest remove;
  remove.set_name(get.name());
  v1::Artifact artifact;
  google::protobuf::Empty empty;
  const std::string file = get.name() + "/files/a.txt";
  for (const grpc::Status& status :
       {artifacts_stub_->GetArtifact(As("stranger").get(), get, &artifact),
        artifacts_stub_->DeleteArtifact(As("stranger").get(), remove, &empty),
        ReadAs("stranger", file)}) {
    ExpectError(status, grpc::NOT_FOUND, "ARTIFACT_NOT_FOUND");
  }
  EXPECT_TRUE(ReadAs("viewer", file).ok());
  EXPECT_TRUE(ReadAs("admin", file).ok());
  v1::ListArtifactsRequest list;
  v1::ListArtifactsResponse listed;
  for (const auto& [caller, count] :
       {std::pair("viewer", 1), {"stranger", 0}, {"admin", 1}}) {
    for (const std::string& of : {std::string(), job.name()}) {
      list.set_job(of);
      ASSERT_TRUE(
          artifacts_stub_->ListArtifacts(As(caller).get(), list, &listed).ok());
      EXPECT_EQ(listed.artifacts_size(), count) << caller << of;
      listed.Clear();
    }
  }
  EXPECT_TRUE(
      artifacts_stub_->DeleteArtifact(As("submitter").get(), remove, &empty)
          .ok());
}

TEST_F(TenantsTest, UploadsAreSharedWithNobody) {
  const std::string bytes = "no model, but bytes";
  const v1::Upload ours = UploadAs("submitter", bytes);
  ExpectError(WriteAs("stranger", ours, bytes), grpc::NOT_FOUND,
              "UPLOAD_NOT_FOUND");
  EXPECT_TRUE(WriteAs("submitter", ours, bytes).ok());
  v1::GetUploadRequest get;
  get.set_name(ours.name());
  v1::Upload upload;
  EXPECT_TRUE(models_stub_->GetUpload(As("viewer").get(), get, &upload).ok());
  EXPECT_EQ(upload.missing_size(), 0);
  ExpectError(models_stub_->GetUpload(As("stranger").get(), get, &upload),
              grpc::NOT_FOUND, "UPLOAD_NOT_FOUND");
  google::bytestream::QueryWriteStatusRequest query;
  query.set_resource_name(ours.name() + "/blobs/" + Sha256Hex(bytes));
  google::bytestream::QueryWriteStatusResponse written;
  ExpectError(
      bytes_stub_->QueryWriteStatus(As("stranger").get(), query, &written),
      grpc::NOT_FOUND, "UPLOAD_NOT_FOUND");
  // Who knows the digest has not shown the bytes, nor learns that we have them.
  const v1::Upload theirs = UploadAs("stranger", bytes);
  EXPECT_NE(theirs.name(), ours.name());
  EXPECT_EQ(theirs.missing_size(), 1);
}

TEST_F(TenantsTest, NoJobFromAnUploadOfOthers) {
  const std::string bytes = "no model, but bytes";
  const v1::Upload ours = UploadAs("submitter", bytes);
  ASSERT_TRUE(WriteAs("submitter", ours, bytes).ok());
  v1::CreateJobRequest as_source = GoodRequest();
  as_source.mutable_spec()->mutable_source()->set_upload(ours.name());
  v1::CreateJobRequest as_text = GoodRequest();
  as_text.mutable_spec()->mutable_calibration()->mutable_source()->set_upload(
      ours.name());
  v1::Job job;
  v1::JobPlan plan;
  for (const v1::CreateJobRequest& request : {as_source, as_text}) {
    ExpectError(jobs_stub_->CreateJob(As("stranger").get(), request, &job),
                grpc::FAILED_PRECONDITION, "SOURCE_MISSING");
    v1::PlanJobRequest plan_request;
    *plan_request.mutable_spec() = request.spec();
    ExpectError(jobs_stub_->PlanJob(As("stranger").get(), plan_request, &plan),
                grpc::FAILED_PRECONDITION, "SOURCE_MISSING");
    // For its owner it exists; that it is no model is another matter.
    const grpc::Status own =
        jobs_stub_->CreateJob(As("submitter").get(), request, &job);
    EXPECT_NE(DetailsOf(own).info.reason(), "SOURCE_MISSING");
  }
  v1::InspectModelRequest inspect;
  inspect.mutable_source()->set_upload(ours.name());
  v1::ModelInfo info;
  ExpectError(models_stub_->InspectModel(As("stranger").get(), inspect, &info),
              grpc::FAILED_PRECONDITION, "SOURCE_MISSING");
  // As for an admin, for whom all exists.
  inspect.mutable_source()->set_upload("uploads/" + std::string(26, 'a'));
  for (const char* caller : {"submitter", "admin"}) {
    ExpectError(models_stub_->InspectModel(As(caller).get(), inspect, &info),
                grpc::FAILED_PRECONDITION, "SOURCE_MISSING");
  }
}

}  // namespace
}  // namespace quant

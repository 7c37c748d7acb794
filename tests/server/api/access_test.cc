// Who may call what, over the wire, for every method that there is.
#include "server/api/access.h"

#include <gmock/gmock.h>

#include <fstream>
#include <map>

#include "core/base/digest.h"
#include "google/protobuf/descriptor.h"
#include "server/api/health_service.h"
#include "tests/server/api/access_test_base.h"

namespace quant {
namespace {

using testing::HasSubstr;

// Full names of all methods of all services that the server registers.
std::vector<std::string> AllMethods() {
  std::vector<std::string> out;
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  for (absl::string_view service : ServiceNames()) {
    const auto* descriptor = pool->FindServiceByName(std::string(service));
    EXPECT_NE(descriptor, nullptr) << service;
    for (int i = 0; i < descriptor->method_count(); ++i) {
      out.push_back(std::string(service) + "/" +
                    std::string(descriptor->method(i)->name()));
    }
  }
  return out;
}

std::map<std::string, Role> Table() {
  std::map<std::string, Role> table;
  for (const MethodAccess& row : MethodTable()) {
    EXPECT_TRUE(table.emplace(row.method, row.needs).second) << row.method;
  }
  return table;
}

TEST(MethodTableTest, HasEveryMethodOfEveryServiceAndNoOther) {
  std::map<std::string, Role> table = Table();
  for (const std::string& method : AllMethods()) {
    EXPECT_EQ(table.erase(method), 1) << method << " is open to nobody";
  }
  EXPECT_TRUE(table.empty()) << table.begin()->first << " is no method";
}

TEST(MethodTableTest, OnlyHealthAsksForNoCredentials) {
  for (const MethodAccess& row : MethodTable()) {
    const bool health =
        row.method.substr(0, 22) == absl::string_view("grpc.health.v1.Health/");
    EXPECT_EQ(row.needs == Role::kNobody, health) << row.method;
  }
}

using AccessTest = AuthApiTest;

TEST_F(AccessTest, WithoutCredentialsNothingIsAnswered) {
  for (const std::string& method : AllMethods()) {
    if (Table().at(method) == Role::kNobody) continue;
    for (const char* token : {"", "no such token"}) {
      const grpc::Status status = Call(method, token);
      ExpectError(status, grpc::UNAUTHENTICATED, "UNAUTHENTICATED");
    }
  }
}

// Who may call what, written a second time: the least role; "": anybody.
constexpr std::pair<const char*, const char*> kLeastCallers[] = {
    {"quant.v1.JobService/CreateJob", "submitter"},
    {"quant.v1.JobService/GetJob", "viewer"},
    {"quant.v1.JobService/ListJobs", "viewer"},
    {"quant.v1.JobService/WatchJob", "viewer"},
    {"quant.v1.JobService/CancelJob", "submitter"},
    {"quant.v1.JobService/RetryJob", "submitter"},
    {"quant.v1.JobService/DeleteJob", "submitter"},
    {"quant.v1.JobService/PlanJob", "submitter"},
    {"quant.v1.ArtifactService/ListArtifacts", "viewer"},
    {"quant.v1.ArtifactService/GetArtifact", "viewer"},
    {"quant.v1.ArtifactService/DeleteArtifact", "submitter"},
    {"quant.v1.ModelService/CreateUpload", "submitter"},
    {"quant.v1.ModelService/GetUpload", "viewer"},
    {"quant.v1.ModelService/InspectModel", "submitter"},
    {"quant.v1.QueueService/GetQueue", "operator"},
    {"quant.v1.QueueService/PauseQueue", "operator"},
    {"quant.v1.QueueService/DrainQueue", "operator"},
    {"quant.v1.QueueService/ResumeQueue", "operator"},
    {"quant.v1.TensorService/QuantizeTensor", "submitter"},
    {"quant.v1.CatalogService/GetCapabilities", "viewer"},
    {"google.bytestream.ByteStream/Read", "viewer"},
    {"google.bytestream.ByteStream/Write", "submitter"},
    {"google.bytestream.ByteStream/QueryWriteStatus", "viewer"},
    {"grpc.health.v1.Health/Check", ""},
    {"grpc.health.v1.Health/Watch", ""},
};

// Before existence: the requests are empty or name nothing that is there.
TEST_F(AccessTest, EveryRoleMayWhatItShould) {
  std::set<std::string> methods;
  for (const auto& [method, least] : kLeastCallers) {
    methods.insert(method);
    bool allowed = *least == '\0';
    for (const char* token : {"viewer", "submitter", "operator", "admin"}) {
      allowed |= token == absl::string_view(least);
      const grpc::Status status = Call(method, token);
      if (allowed) {
        EXPECT_NE(status.error_code(), grpc::PERMISSION_DENIED)
            << method << " " << token;
        EXPECT_NE(status.error_code(), grpc::UNAUTHENTICATED)
            << method << " " << token;
      } else {
        ExpectError(status, grpc::PERMISSION_DENIED, "PERMISSION_DENIED");
        EXPECT_THAT(status.error_message(), HasSubstr(least));
      }
    }
  }
  for (const std::string& method : AllMethods()) {
    EXPECT_EQ(methods.count(method), 1) << method << " is not expected above";
  }
  EXPECT_THAT(metrics_.Render(), HasSubstr("quant_rpc_rejected_total{reason="
                                           "\"PERMISSION_DENIED\"}"));
}

TEST_F(AccessTest, HealthIsOpen) {
  grpc::health::v1::HealthCheckRequest request;
  grpc::health::v1::HealthCheckResponse response;
  EXPECT_TRUE(health_stub_->Check(Context().get(), request, &response).ok());
}

TEST_F(AccessTest, ARefusalDoesNotTellWhatExists) {
  auto context = As("submitter");
  v1::Job job;
  ASSERT_TRUE(jobs_stub_->CreateJob(context.get(), GoodRequest(), &job).ok());
  std::set<std::string> messages;
  for (const std::string& name : {job.name(), std::string("jobs/none")}) {
    v1::CancelJobRequest request;
    request.set_name(name);
    const grpc::Status status =
        jobs_stub_->CancelJob(As("viewer").get(), request, &job);
    ExpectError(status, grpc::PERMISSION_DENIED, "PERMISSION_DENIED");
    messages.insert(status.error_message());
  }
  EXPECT_EQ(messages.size(), 1);
}

}  // namespace
}  // namespace quant

// What all services share: each method is behind the one wrapper, health and
// reflection tell the truth.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>

#include <set>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/empty.pb.h"
#include "google/protobuf/unknown_field_set.h"
#include "server/api/health_service.h"
#include "tests/server/api/api_test_base.h"

namespace quant {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

class ServicesTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    Start();
  }

  // One exchange on any method, in bytes.
  std::pair<std::string, grpc::Status> Call(const std::string& method,
                                            const std::string& request) {
    grpc::GenericStub stub(channel_);
    grpc::CompletionQueue queue;
    auto context = Context(10);
    auto call = stub.PrepareCall(context.get(), method, &queue);
    auto wait = [&queue] {
      void* tag = nullptr;
      bool ok = false;
      queue.Next(&tag, &ok);
      return ok;
    };
    call->StartCall(nullptr);
    wait();
    grpc::Slice slice(request);
    grpc::ByteBuffer bytes(&slice, 1);
    call->WriteLast(bytes, grpc::WriteOptions(), nullptr);
    wait();
    grpc::ByteBuffer answer;
    call->Read(&answer, nullptr);
    std::string out;
    if (wait()) {
      grpc::Slice whole;
      if (answer.DumpToSingleSlice(&whole).ok()) {
        out.assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
      }
    }
    context->TryCancel();
    grpc::Status status;
    call->Finish(&status, nullptr);
    wait();
    return {out, status};
  }

  // Asks reflection, whose messages are read without their descriptors:
  // list_services is field 7, its answer field 6, each service field 1, the
  // name field 1.
  std::set<std::string> ReflectedServices() {
    const std::string list_services("\x3a\x01*", 3);
    auto [answer, status] =
        Call("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
             list_services);
    std::set<std::string> names;
    google::protobuf::UnknownFieldSet response, list, service;
    response.ParseFromString(answer);
    for (int i = 0; i < response.field_count(); ++i) {
      if (response.field(i).number() != 6) continue;
      list.ParseFromString(response.field(i).length_delimited());
      for (int j = 0; j < list.field_count(); ++j) {
        service.ParseFromString(list.field(j).length_delimited());
        names.insert(service.field(0).length_delimited());
      }
    }
    names.erase("grpc.reflection.v1alpha.ServerReflection");
    return names;
  }

  HealthCheckResponse::ServingStatus Health(const std::string& service) {
    HealthCheckRequest request;
    HealthCheckResponse response;
    request.set_service(service);
    grpc::Status status =
        health_stub_->Check(Context().get(), request, &response);
    EXPECT_TRUE(status.ok()) << service << status.error_message();
    return response.status();
  }
};

TEST_F(ServicesTest, ReflectionListsEveryService) {
  std::set<std::string> expected;
  for (absl::string_view name : ServiceNames()) expected.emplace(name);
  EXPECT_EQ(expected.size(), 8);
  EXPECT_EQ(ReflectedServices(), expected);
}

TEST_F(ServicesTest, EveryMethodGoesThroughTheWrapper) {
  int methods = 0;
  for (const std::string& service : ReflectedServices()) {
    const auto* descriptor =
        google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
            service);
    ASSERT_NE(descriptor, nullptr) << service;
    for (int i = 0; i < descriptor->method_count(); ++i, ++methods) {
      const std::string method =
          service + "/" + std::string(descriptor->method(i)->name());
      const std::string counted =
          "quant_grpc_server_started_total{method=\"" + method + "\"} 1";
      EXPECT_THAT(metrics_.Render(), testing::Not(testing::HasSubstr(counted)));
      auto [answer, status] = Call("/" + method, "");
      EXPECT_NE(status.error_code(), grpc::UNIMPLEMENTED) << method;
      EXPECT_THAT(metrics_.Render(), testing::HasSubstr(counted));
    }
  }
  EXPECT_EQ(methods, 8 + 3 + 3 + 4 + 1 + 1 + 3 + 2);
}

TEST_F(ServicesTest, HealthKnowsEveryServiceAndTheDrain) {
  EXPECT_EQ(Health(""), HealthCheckResponse::SERVING);
  for (absl::string_view name : ServiceNames()) {
    EXPECT_EQ(Health(std::string(name)), HealthCheckResponse::SERVING);
  }
  streams_->BeginDrain();
  EXPECT_EQ(Health("quant.v1.JobService"), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(Health("quant.v1.ArtifactService"), HealthCheckResponse::SERVING);
  EXPECT_EQ(Health(""), HealthCheckResponse::SERVING);
}

TEST_F(ServicesTest, HealthWatchTellsTheChange) {
  HealthCheckRequest request;
  request.set_service("quant.v1.JobService");
  auto context = Context();
  auto reader = health_stub_->Watch(context.get(), request);
  HealthCheckResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  streams_->BeginDrain();
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  streams_->DrainAll();
  EXPECT_FALSE(reader->Read(&response));
  ExpectError(reader->Finish(), grpc::UNAVAILABLE, "SERVER_DRAINING");
}

TEST_F(ServicesTest, HealthWatchOfAnUnknownServiceStaysOpen) {
  HealthCheckRequest request;
  request.set_service("no.such.Service");
  auto context = Context();
  auto reader = health_stub_->Watch(context.get(), request);
  HealthCheckResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVICE_UNKNOWN);
  context->TryCancel();
}

TEST_F(ServicesTest, CapabilitiesNameWhatJobsMayAsk) {
  v1::Capabilities capabilities;
  ASSERT_TRUE(catalog_stub_
                  ->GetCapabilities(Context().get(),
                                    v1::GetCapabilitiesRequest(), &capabilities)
                  .ok());
  std::set<std::string> schemes;
  for (const auto& scheme : capabilities.schemes()) {
    schemes.insert(scheme.name());
  }
  EXPECT_THAT(schemes, testing::IsSupersetOf({"W4A16", "W8A16", "BF16"}));
  EXPECT_GT(capabilities.cpu_targets_size(), 0);
  EXPECT_FALSE(capabilities.version().empty());
}

TEST_F(ServicesTest, OneTensorQuantizedStepByStep) {
  v1::QuantizeTensorRequest request;
  for (float value : {-1.0f, -0.5f, 0.0f, 0.25f, 0.5f, 1.0f, 0.75f, -0.25f}) {
    request.add_values(value);
  }
  request.mutable_recipe()->set_scheme("W8A16");
  v1::QuantizeTensorResponse response;
  grpc::Status status =
      tensors_stub_->QuantizeTensor(Context().get(), request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.codes_size(), 8);
  ASSERT_EQ(response.scales_size(), 1);
  for (int i = 0; i < 8; ++i) {
    EXPECT_FLOAT_EQ(response.dequantized(i),
                    static_cast<float>(response.codes(i)) * response.scales(0));
    EXPECT_NEAR(response.dequantized(i), request.values(i),
                response.scales(0) / 2 + 1e-6);
  }
}

TEST_F(ServicesTest, OversizedMessagesAreRefusedByTheTransport) {
  v1::QuantizeTensorRequest request;
  request.mutable_recipe()->set_scheme("W8A16");
  for (int i = 0; i < (5 << 20) / 4; ++i) request.add_values(1.0f);
  v1::QuantizeTensorResponse response;
  EXPECT_EQ(tensors_stub_->QuantizeTensor(Context().get(), request, &response)
                .error_code(),
            grpc::RESOURCE_EXHAUSTED);
}

}  // namespace
}  // namespace quant

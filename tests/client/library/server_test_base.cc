#include "tests/client/library/server_test_base.h"

#include <csignal>
#include <fstream>
#include <iterator>
#include <utility>

#include "client/library/watch.h"

namespace quant {
namespace {

std::filesystem::path MakeRoot() {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  std::filesystem::path path =
      std::filesystem::path(testing::TempDir()) /
      (std::string("client_") + info->test_suite_name() + "_" + info->name() +
       "_" + std::to_string(getpid()));
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

}  // namespace

ServerTest::ServerTest() : root_(MakeRoot()) {}

ServerTest::~ServerTest() {
  proxy_.reset();
  server_.reset();
  std::filesystem::remove_all(root_);
}

void ServerTest::StartServer(const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {"--model-root", QUANT_SOURCE_DIR "/examples"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  server_ = std::make_unique<QuantdProcess>(Path("data"), all);
  ASSERT_TRUE(server_->WaitReady()) << server_->Log();
  if (proxy_) {
    proxy_->SetUpstream(server_->grpc_address());
  } else {
    proxy_ = std::make_unique<CuttingProxy>(server_->grpc_address());
  }
}

void ServerTest::KillServer() {
  server_->Signal(SIGKILL);
  ASSERT_TRUE(server_->WaitExit(std::chrono::seconds(30)).has_value());
}

std::unique_ptr<Client> ServerTest::Connect(ClientOptions options) {
  auto client = Client::Connect(proxy_->address(), std::move(options));
  EXPECT_TRUE(client.ok()) << client.status();
  return std::move(client).value();
}

v1::CreateJobRequest ServerTest::BundledJob() const {
  v1::CreateJobRequest request;
  v1::JobSpec* spec = request.mutable_spec();
  spec->mutable_source()->set_server_path("tiny-own-pad768-bf16");
  spec->add_outputs()->mutable_recipe()->set_scheme("W4A16");
  return request;
}

v1::Job ServerTest::FinishedJob(Client& client) {
  const auto job = client.Submit(BundledJob());
  EXPECT_TRUE(job.ok()) << job.status();
  const auto done =
      Wait(client, job.value_or(v1::Job()).name(), std::chrono::seconds(120));
  EXPECT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done.value_or(v1::Job()).state(), v1::Job::SUCCEEDED);
  return done.value_or(v1::Job());
}

std::string ServerTest::BundledModel() {
  return QUANT_SOURCE_DIR "/examples/tiny-own-pad768-bf16";
}

std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void WriteAll(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace quant

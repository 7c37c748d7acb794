// What the tests of the client library share: a real server, behind a proxy
// that can break connections.
#ifndef QUANT_TESTS_CLIENT_LIBRARY_SERVER_TEST_BASE_H_
#define QUANT_TESTS_CLIENT_LIBRARY_SERVER_TEST_BASE_H_

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "client/library/client.h"
#include "tests/client/library/cutting_proxy.h"
#include "tests/integration/quantd_process.h"

namespace quant {

class ServerTest : public testing::Test {
 protected:
  ServerTest();
  ~ServerTest() override;

  // Starts the server, or starts it again on the same data; the proxy's
  // address stays the same.
  void StartServer(const std::vector<std::string>& arguments = {});
  void KillServer();

  // Through the proxy.
  std::unique_ptr<Client> Connect(ClientOptions options = {});
  // A W4A16 job on the bundled model, by server path.
  v1::CreateJobRequest BundledJob() const;
  // A succeeded job.
  v1::Job FinishedJob(Client& client);

  std::filesystem::path Path(const std::string& name) const {
    return root_ / name;
  }
  static std::string BundledModel();

  const std::filesystem::path root_;  // of this test; removed at its end
  std::unique_ptr<QuantdProcess> server_;
  std::unique_ptr<CuttingProxy> proxy_;
};

std::string ReadAll(const std::filesystem::path& path);
void WriteAll(const std::filesystem::path& path, const std::string& bytes);

}  // namespace quant

#endif  // QUANT_TESTS_CLIENT_LIBRARY_SERVER_TEST_BASE_H_

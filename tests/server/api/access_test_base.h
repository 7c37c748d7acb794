// A server in this process that knows a few callers, by tokens that are called
// like them.
#ifndef QUANT_TESTS_SERVER_API_ACCESS_TEST_BASE_H_
#define QUANT_TESTS_SERVER_API_ACCESS_TEST_BASE_H_

#include <memory>
#include <set>
#include <string>

#include "server/auth/authenticator.h"
#include "tests/server/api/api_test_base.h"

namespace quant {

// viewer, submitter, operator and admin belong to tenant "ours"; stranger is a
// submitter of "theirs".
class AuthApiTest : public ApiTest {
 protected:
  void SetUp() override;
  void TearDown() override;

  std::unique_ptr<grpc::ClientContext> As(const std::string& caller);
  // One exchange on any method: an empty request, or none.
  grpc::Status Call(const std::string& method, const std::string& caller);
};

}  // namespace quant

#endif  // QUANT_TESTS_SERVER_API_ACCESS_TEST_BASE_H_

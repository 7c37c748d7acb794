#include "tests/server/api/access_test_base.h"

#include <grpcpp/generic/generic_stub.h>

#include <fstream>

#include "core/base/digest.h"

namespace quant {

void AuthApiTest::SetUp() {
  ApiTest::SetUp();
  const std::string path = (temp_ / "auth").string();
  std::ofstream file(path);
  for (const char* name : {"viewer", "submitter", "operator", "admin"}) {
    file << name << " " << name << " ours sha256:" << Sha256Hex(name) << "\n";
  }
  file << "stranger submitter theirs sha256:" << Sha256Hex("stranger") << "\n";
  file.close();
  authenticator_ = *Authenticator::Open(path, {});
  Start();
}

void AuthApiTest::TearDown() {
  ApiTest::TearDown();
  authenticator_.reset();
}

std::unique_ptr<grpc::ClientContext> AuthApiTest::As(
    const std::string& caller) {
  auto context = Context();
  if (!caller.empty()) {
    context->AddMetadata("authorization", "Bearer " + caller);
  }
  return context;
}

grpc::Status AuthApiTest::Call(const std::string& method,
                               const std::string& caller) {
  grpc::GenericStub stub(channel_);
  grpc::CompletionQueue queue;
  auto context = As(caller);
  auto call = stub.PrepareCall(context.get(), "/" + method, &queue);
  auto wait = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return ok;
  };
  call->StartCall(nullptr);
  wait();
  grpc::Slice slice("");
  grpc::ByteBuffer bytes(&slice, 1);
  call->WriteLast(bytes, grpc::WriteOptions(), nullptr);
  wait();
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  // A stream that answers would go on for ever.
  if (wait()) context->TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
  return status;
}

}  // namespace quant

// Quantizes a model of a server to W4A16 and brings the result home:
//   quantize_remote HOST:PORT MODEL-ON-THE-SERVER DIRECTORY
#include <iostream>

#include "client/library/client.h"
#include "client/library/download.h"
#include "client/library/watch.h"

int Fail(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 4) return Fail(absl::InvalidArgumentError("HOST:PORT MODEL DIR"));
  auto client = quant::Client::Connect(argv[1]);
  if (!client.ok()) return Fail(client.status());
  quant::v1::CreateJobRequest request;
  request.mutable_spec()->mutable_source()->set_server_path(argv[2]);
  request.mutable_spec()->add_outputs()->mutable_recipe()->set_scheme("W4A16");
  auto job = (*client)->Submit(request);
  if (!job.ok()) return Fail(job.status());
  auto done = quant::Watch(**client, job->name(), {}, [](const auto& event) {
    std::cout << event.ShortDebugString() << "\n";
  });
  if (!done.ok()) return Fail(done.status());
  if (done->artifacts().empty()) return Fail(absl::AbortedError("job failed"));
  auto files = quant::Download(**client, done->artifacts(0), argv[3]);
  return files.ok() ? 0 : Fail(files.status());
}

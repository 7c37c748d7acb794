// A quantd server, from C++.
//
//   auto client = quant::Client::Connect("127.0.0.1:50051");
//   quant::v1::CreateJobRequest request = ...;
//   auto job = (*client)->Submit(request);
//   auto done = quant::Watch(**client, job->name());          // watch.h
//   auto files = quant::Download(**client, done->artifacts(0), "out");
//
// Requests and answers are the messages of proto/quant/v1, which is the
// specification; what a call may answer is documented there.
//
// All methods block, may be called from many threads at once, and always have a
// deadline. Errors are an absl::Status with the server's code, message and
// reason (errors.h). UNAVAILABLE is retried a few times before it is answered.
#ifndef QUANT_CLIENT_LIBRARY_CLIENT_H_
#define QUANT_CLIENT_LIBRARY_CLIENT_H_

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "quant/v1/artifact.pb.h"
#include "quant/v1/catalog.pb.h"
#include "quant/v1/job_service.pb.h"
#include "quant/v1/model.pb.h"
#include "quant/v1/queue.pb.h"
#include "quant/v1/tensor.pb.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace quant {

// Paths of PEM files. All empty: the system's certificate authorities.
struct TlsOptions {
  std::string ca_file;    // who may have signed the server's certificate
  std::string cert_file;  // this client's, with key_file, for mutual TLS
  std::string key_file;
};

struct ClientOptions {
  // Nothing: plaintext, for loopback and for networks that encrypt below.
  std::optional<TlsOptions> tls;
  // A bearer token; empty: none is sent. Never sent in plaintext to another
  // machine, unless token_over_plaintext says that the network is trusted.
  std::string token;
  bool token_over_plaintext = false;
  // The W3C trace that all calls belong to, "00-...-...-01"; empty: none, and
  // each begins one of its own. Jobs keep it.
  std::string traceparent;
  // Deadline of one unary call.
  std::chrono::milliseconds deadline{30'000};
  // Deadline of Plan, Inspect and Submit, which read a model's headers, or with
  // `dtypes` all of its values.
  std::chrono::milliseconds long_deadline{600'000};
  // How long Submit, Watch, Download and Upload keep trying without any
  // progress while the server can't be reached, or asks for patience.
  std::chrono::milliseconds retry_for{30'000};
};

class Client {
 public:
  // Prepares a connection to "host:port" (or any gRPC target name). Nothing is
  // sent yet: a server that is down shows at the first call. INVALID_ARGUMENT
  // for an empty target, a token that can't be sent, and what is no
  // traceparent; an unreadable PEM file answers its own error.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(
      const std::string& target, ClientOptions options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Creates a job, once: an empty request_id is filled in, and the call is
  // repeated with it, with backoff and jitter, while it may succeed later
  // (UNAVAILABLE, a full queue that gives a RetryInfo, an answer that was
  // lost).
  // CANCELLED when `stop` was requested: the job may exist then.
  absl::StatusOr<v1::Job> Submit(v1::CreateJobRequest request,
                                 std::stop_token stop = {});

  // Jobs. `name` is "jobs/{id}"; `etag`, when not empty, must still hold.
  absl::StatusOr<v1::Job> Get(const std::string& name);
  absl::StatusOr<v1::ListJobsResponse> List(const v1::ListJobsRequest& request);
  absl::StatusOr<v1::Job> Cancel(const std::string& name,
                                 const std::string& etag = "");
  absl::StatusOr<v1::Job> Retry(const std::string& name,
                                const std::string& etag = "");
  absl::Status Delete(const std::string& name, const std::string& etag = "");

  // Artifacts. `name` is "artifacts/{id}". Their bytes: download.h.
  absl::StatusOr<v1::Artifact> GetArtifact(const std::string& name);
  absl::StatusOr<v1::ListArtifactsResponse> ListArtifacts(
      const v1::ListArtifactsRequest& request);
  absl::Status DeleteArtifact(const std::string& name);

  // Questions that make no job.
  absl::StatusOr<v1::JobPlan> Plan(const v1::JobSpec& spec);
  absl::StatusOr<v1::ModelInfo> Inspect(const v1::InspectModelRequest& request);
  absl::StatusOr<v1::QuantizeTensorResponse> Tensor(
      const v1::QuantizeTensorRequest& request);
  absl::StatusOr<v1::Capabilities> Capabilities();

  // The queue as a whole; for operators.
  absl::StatusOr<v1::Queue> GetQueue();
  absl::StatusOr<v1::Queue> PauseQueue();
  absl::StatusOr<v1::Queue> DrainQueue();
  absl::StatusOr<v1::Queue> ResumeQueue();

  // Whether `service` serves; empty: the server as a whole. A server that
  // drains answers false for "quant.v1.JobService".
  absl::StatusOr<bool> Health(const std::string& service = "");

  // For stubs of your own, and for the rest of this library.
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  const std::string& target() const { return target_; }
  const ClientOptions& options() const { return options_; }

 private:
  struct Stubs;
  Client(std::string target, ClientOptions options,
         std::shared_ptr<grpc::Channel> channel);

  const std::string target_;
  const ClientOptions options_;
  const std::shared_ptr<grpc::Channel> channel_;  // shared with its stubs
  const std::unique_ptr<Stubs> stubs_;
};

}  // namespace quant

#endif  // QUANT_CLIENT_LIBRARY_CLIENT_H_

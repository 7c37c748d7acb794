// Drives a running quantd and prints what it saw, one JSON object per line.
//
//   bench_rpc SERVER create  SOURCE SECONDS IN_FLIGHT
//   bench_rpc SERVER get     SOURCE SECONDS IN_FLIGHT
//   bench_rpc SERVER start   SOURCE COUNT 1      submit -> RUNNING, one by one
//   bench_rpc SERVER busyget SOURCE SECONDS IN_FLIGHT   GetJob while jobs run
//   bench_rpc SERVER read    ARTIFACT_FILE REPEATS 1    ByteStream.Read,
//   SHA-256
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/base/digest.h"
#include "google/bytestream/bytestream.grpc.pb.h"
#include "quant/v1/job_service.grpc.pb.h"

namespace {

using Clock = std::chrono::steady_clock;
using quant::v1::Job;
using Stub = quant::v1::JobService::Stub;

double Seconds(Clock::duration d) {
  return std::chrono::duration<double>(d).count();
}

quant::v1::CreateJobRequest MakeRequest(const std::string& source, int64_t i) {
  quant::v1::CreateJobRequest request;
  request.mutable_spec()->mutable_source()->set_server_path(source);
  auto* output = request.mutable_spec()->add_outputs();
  output->mutable_recipe()->set_scheme("W4A16");
  request.set_request_id("bench-" + std::to_string(getpid()) + "-" +
                         std::to_string(i));
  return request;
}

// Latencies of one kind of call, in seconds.
struct Samples {
  std::mutex mutex;
  std::vector<double> seconds;
  int64_t errors = 0;
  std::string first_error;

  void Add(double value, const grpc::Status& status) {
    std::lock_guard lock(mutex);
    if (status.ok()) {
      seconds.push_back(value);
      return;
    }
    if (errors++ == 0) first_error = status.error_message();
  }

  void Print(const char* what, double wall) {
    std::lock_guard lock(mutex);
    std::sort(seconds.begin(), seconds.end());
    const auto at = [&](double q) {
      if (seconds.empty()) return 0.0;
      return 1e3 * seconds[static_cast<size_t>(q * (seconds.size() - 1))];
    };
    std::printf(
        "{\"case\": \"%s\", \"calls\": %zu, \"errors\": %lld, "
        "\"per_second\": %.0f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
        "\"max_ms\": %.3f, \"first_error\": \"%s\"}\n",
        what, seconds.size(), static_cast<long long>(errors),
        static_cast<double>(seconds.size()) / wall, at(0.5), at(0.99), at(1.0),
        first_error.c_str());
  }
};

// Keeps `in_flight` calls going until the time is over.
class Loop {
 public:
  using Start = std::function<void(int64_t, std::function<void(grpc::Status)>)>;

  Loop(Start start, double seconds, int in_flight)
      : start_(std::move(start)),
        end_(Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                std::chrono::duration<double>(seconds))),
        in_flight_(in_flight) {}

  void Run(const char* what) {
    const auto begin = Clock::now();
    for (int i = 0; i < in_flight_; ++i) Next();
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return open_ == 0; });
    samples_.Print(what, Seconds(Clock::now() - begin));
  }

 private:
  void Next() {
    {
      std::lock_guard lock(mutex_);
      ++open_;
    }
    const auto sent = Clock::now();
    start_(next_++, [this, sent](grpc::Status status) {
      samples_.Add(Seconds(Clock::now() - sent), status);
      if (Clock::now() < end_) Next();
      std::lock_guard lock(mutex_);
      if (--open_ == 0) idle_.notify_all();
    });
  }

  Start start_;
  Clock::time_point end_;
  int in_flight_;
  Samples samples_;
  std::atomic<int64_t> next_{0};
  std::mutex mutex_;
  std::condition_variable idle_;
  int open_ = 0;
};

template <typename Request>
struct Call {
  grpc::ClientContext context;
  Request request;
  Job response;
};

// What a call ends with. Lets go of the call, and with it of the channel,
// before it says so: the channel ends its own threads and must not go with the
// last callback, on one of them.
template <typename Request>
std::function<void(grpc::Status)> Ended(
    std::shared_ptr<Call<Request>> call,
    std::function<void(grpc::Status)> done) {
  return [call, done](grpc::Status status) mutable {
    call.reset();
    done(std::move(status));
  };
}

void BenchCreate(Stub& stub, const std::string& source, double seconds,
                 int in_flight) {
  Loop loop(
      [&](int64_t i, std::function<void(grpc::Status)> done) {
        auto call = std::make_shared<Call<quant::v1::CreateJobRequest>>();
        call->request = MakeRequest(source, i);
        stub.async()->CreateJob(&call->context, &call->request, &call->response,
                                Ended(call, std::move(done)));
      },
      seconds, in_flight);
  loop.Run("create");
}

Job CreateOne(Stub& stub, const std::string& source, int64_t i) {
  grpc::ClientContext context;
  Job job;
  const auto status = stub.CreateJob(&context, MakeRequest(source, i), &job);
  if (!status.ok()) {
    std::fprintf(stderr, "CreateJob: %s\n", status.error_message().c_str());
    std::exit(1);
  }
  return job;
}

void LoopGet(Stub& stub, const std::string& name, double seconds, int in_flight,
             const char* what) {
  Loop loop(
      [&](int64_t, std::function<void(grpc::Status)> done) {
        auto call = std::make_shared<Call<quant::v1::GetJobRequest>>();
        call->request.set_name(name);
        stub.async()->GetJob(&call->context, &call->request, &call->response,
                             Ended(call, std::move(done)));
      },
      seconds, in_flight);
  loop.Run(what);
}

// Submit one job at a time and wait for its RUNNING event.
void BenchStart(Stub& stub, const std::string& source, int count) {
  Samples samples;
  const auto begin = Clock::now();
  for (int i = 0; i < count; ++i) {
    const auto sent = Clock::now();
    const Job job = CreateOne(stub, source, 1'000'000 + i);
    grpc::ClientContext context;
    quant::v1::WatchJobRequest request;
    request.set_name(job.name());
    auto stream = stub.WatchJob(&context, request);
    quant::v1::WatchJobResponse message;
    bool running = false;
    while (stream->Read(&message)) {
      const auto state =
          message.has_job() ? message.job().state() : message.state();
      const bool started = message.kind() == message.ATTEMPT ||
                           state == Job::RUNNING || state == Job::SUCCEEDED;
      if (started && !running) {
        running = true;
        samples.Add(Seconds(Clock::now() - sent), grpc::Status::OK);
      }
    }
    (void)stream->Finish();
  }
  samples.Print("submit_to_running", Seconds(Clock::now() - begin));
}

void BenchRead(const std::shared_ptr<grpc::Channel>& channel,
               const std::string& resource, int repeats) {
  auto stub = google::bytestream::ByteStream::NewStub(channel);
  for (int i = 0; i < repeats; ++i) {
    grpc::ClientContext context;
    google::bytestream::ReadRequest request;
    request.set_resource_name(resource);
    const auto begin = Clock::now();
    auto stream = stub->Read(&context, request);
    google::bytestream::ReadResponse chunk;
    quant::Sha256 sha;
    int64_t bytes = 0;
    while (stream->Read(&chunk)) {
      sha.Update(absl::string_view(chunk.data()));
      bytes += static_cast<int64_t>(chunk.data().size());
    }
    const grpc::Status status = stream->Finish();
    const double wall = Seconds(Clock::now() - begin);
    std::printf(
        "{\"case\": \"read\", \"ok\": %s, \"bytes\": %lld, "
        "\"mb_per_second\": %.0f, \"sha256\": \"%s\"}\n",
        status.ok() ? "true" : "false", static_cast<long long>(bytes),
        bytes / 1e6 / wall, sha.Finish().c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr,
                 "usage: bench_rpc SERVER CASE SUBJECT NUMBER NUMBER\n");
    return 2;
  }
  const std::string what = argv[2], subject = argv[3];
  const double number = std::stod(argv[4]);
  const int in_flight = std::stoi(argv[5]);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(8 << 20);
  auto channel = grpc::CreateCustomChannel(
      argv[1], grpc::InsecureChannelCredentials(), arguments);
  auto stub = quant::v1::JobService::NewStub(channel);
  if (what == "create") {
    BenchCreate(*stub, subject, number, in_flight);
  } else if (what == "get") {
    const Job job = CreateOne(*stub, subject, -1);
    LoopGet(*stub, job.name(), number, in_flight, "get");
  } else if (what == "busyget") {
    const Job job = CreateOne(*stub, subject, -2);
    LoopGet(*stub, job.name(), number, in_flight, "get_while_busy");
  } else if (what == "start") {
    BenchStart(*stub, subject, static_cast<int>(number));
  } else if (what == "read") {
    BenchRead(channel, subject, static_cast<int>(number));
  } else {
    std::fprintf(stderr, "unknown case %s\n", what.c_str());
    return 2;
  }
  return 0;
}

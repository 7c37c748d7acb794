// Thousands of watches of one job, and some that are opened and never read:
//
//   watchers SERVER JOB WATCHERS SILENT
//
// Lost watches are opened again after their last sequence, each after a random
// part of two seconds. Prints a line of JSON when all of them have heard
// something for the first time, whenever that is so again after some were lost,
// and when all of them have seen the end. Exits with 1 when a sequence was
// missed.
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <queue>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "quant/v1/job_service.grpc.pb.h"

namespace {

using quant::v1::JobService;
using quant::v1::WatchJobRequest;
using quant::v1::WatchJobResponse;
using Clock = std::chrono::steady_clock;

// No more than servers allow on a connection.
constexpr int kStreamsPerConnection = 100;

std::unique_ptr<JobService::Stub> Connect(const std::string& server) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  return JobService::NewStub(grpc::CreateCustomChannel(
      server, grpc::InsecureChannelCredentials(), arguments));
}

// Runs what is due, one after the other.
class Timer {
 public:
  Timer() : thread_([this] { Run(); }) {}
  ~Timer() {
    {
      std::lock_guard lock(mutex_);
      done_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void In(Clock::duration delay, std::function<void()> what) {
    {
      std::lock_guard lock(mutex_);
      due_.emplace(Clock::now() + delay, std::move(what));
    }
    changed_.notify_all();
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (!done_) {
      if (due_.empty()) {
        changed_.wait(lock);
        continue;
      }
      const auto first = due_.begin();
      if (Clock::now() < first->first) {
        changed_.wait_until(lock, first->first);
        continue;
      }
      const std::function<void()> what = std::move(first->second);
      due_.erase(first);
      lock.unlock();
      what();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<Clock::time_point, std::function<void()>> due_;
  bool done_ = false;
  std::thread thread_;
};

// What all watchers together saw.
class Tally {
 public:
  explicit Tally(int watchers) : watchers_(watchers) {}

  void Attached() {
    std::lock_guard lock(mutex_);
    if (++attached_ + finals_ == watchers_) Tell("attached");
  }
  void Lost(const grpc::Status& status, bool was_attached) {
    std::lock_guard lock(mutex_);
    if (was_attached && attached_-- + finals_ == watchers_) {
      since_ = Clock::now();
    }
    ++lost_[std::string(status.error_message()).substr(0, 60)];
  }
  void Final(bool was_attached) {
    std::lock_guard lock(mutex_);
    if (was_attached) --attached_;
    if (++finals_ == watchers_) {
      Tell("final");
      all_.notify_all();
    }
  }
  void Message() { ++messages_; }
  void Missed(int64_t expected, int64_t found) {
    std::lock_guard lock(mutex_);
    if (missed_++ > 0) return;
    std::fprintf(stderr, "sequence %lld, expected %lld\n",
                 static_cast<long long>(found),
                 static_cast<long long>(expected));
  }
  // Whether nothing was missed.
  bool Wait() {
    std::unique_lock lock(mutex_);
    all_.wait(lock, [this] { return finals_ == watchers_; });
    for (const auto& [why, count] : lost_) {
      std::fprintf(stderr, "lost %lld: %s\n", static_cast<long long>(count),
                   why.c_str());
    }
    return missed_ == 0;
  }

 private:
  void Tell(const char* what) {
    int64_t lost = 0;
    for (const auto& [why, count] : lost_) lost += count;
    std::printf(
        "{\"event\": \"%s\", \"seconds\": %.3f, \"messages\": %lld, "
        "\"lost\": %lld, \"missed\": %lld}\n",
        what, std::chrono::duration<double>(Clock::now() - since_).count(),
        static_cast<long long>(messages_), static_cast<long long>(lost),
        static_cast<long long>(missed_));
    std::fflush(stdout);
  }

  std::mutex mutex_;
  std::condition_variable all_;
  const int watchers_;
  int attached_ = 0, finals_ = 0;
  int64_t missed_ = 0;
  std::map<std::string, int64_t> lost_;  // by message
  std::atomic<int64_t> messages_{0};
  Clock::time_point since_ = Clock::now();
};

class Watcher final : public grpc::ClientReadReactor<WatchJobResponse> {
 public:
  Watcher(JobService::Stub& stub, const std::string& job, int seed,
          Timer& timer, Tally& tally)
      : stub_(stub), timer_(timer), tally_(tally), random_(seed) {
    request_.set_name(job);
  }

  void Open() {
    context_ = std::make_unique<grpc::ClientContext>();
    request_.set_after_sequence(last_);
    attached_ = false;
    stub_.async()->WatchJob(context_.get(), &request_, this);
    StartRead(&message_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    Take();
    StartRead(&message_);
  }

  void OnDone(const grpc::Status& status) override {
    if (final_) return tally_.Final(attached_);
    tally_.Lost(status, attached_);
    const std::chrono::milliseconds delay(random_() % 2000);
    timer_.In(delay, [this] { Open(); });
  }

 private:
  void Take() {
    tally_.Message();
    if (!attached_) {
      attached_ = true;
      tally_.Attached();
    }
    switch (message_.kind()) {
      case WatchJobResponse::SNAPSHOT:
        last_ = message_.sequence();
        break;
      case WatchJobResponse::STATE:
      case WatchJobResponse::ATTEMPT:
      case WatchJobResponse::GATE:
      case WatchJobResponse::ARTIFACT:
        if (message_.sequence() != last_ + 1) {
          tally_.Missed(last_ + 1, message_.sequence());
        }
        last_ = message_.sequence();
        break;
      case WatchJobResponse::FINAL:
        final_ = true;
        break;
      default:
        break;
    }
  }

  JobService::Stub& stub_;
  Timer& timer_;
  Tally& tally_;
  std::minstd_rand random_;
  WatchJobRequest request_;
  WatchJobResponse message_;
  std::unique_ptr<grpc::ClientContext> context_;
  int64_t last_ = 0;
  bool attached_ = false, final_ = false;
};

// Opened, and never read.
class Silent final : public grpc::ClientReadReactor<WatchJobResponse> {
 public:
  Silent(JobService::Stub& stub, const std::string& job) {
    request_.set_name(job);
    stub.async()->WatchJob(&context_, &request_, this);
    StartCall();
  }
  void OnDone(const grpc::Status&) override {}

 private:
  grpc::ClientContext context_;
  WatchJobRequest request_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: watchers SERVER JOB WATCHERS SILENT\n");
    return 2;
  }
  const std::string server = argv[1], job = argv[2];
  const int watchers = std::stoi(argv[3]), silent = std::stoi(argv[4]);
  std::vector<std::unique_ptr<JobService::Stub>> stubs;
  const auto stub_of = [&](int i) -> JobService::Stub& {
    if (i % kStreamsPerConnection == 0) stubs.push_back(Connect(server));
    return *stubs.back();
  };
  Timer timer;
  Tally tally(watchers);
  std::vector<std::unique_ptr<Silent>> sleepers;
  for (int i = 0; i < silent; ++i) {
    sleepers.push_back(std::make_unique<Silent>(stub_of(i), job));
  }
  std::vector<std::unique_ptr<Watcher>> readers;
  for (int i = 0; i < watchers; ++i) {
    readers.push_back(
        std::make_unique<Watcher>(stub_of(i), job, i + 1, timer, tally));
    readers.back()->Open();
  }
  const bool sound = tally.Wait();
  std::fflush(stdout);
  // Those that never read would keep their library from ending.
  std::_Exit(sound ? 0 : 1);
}

// Tells watchers what changed, and runs the callbacks of finished writes: all
// on one thread of its own, in order.
//
// One thread is what makes Unsubscribe safe without deadlock: whoever calls it
// from inside a listener is on that thread, so no other listener can be
// running; anybody else waits for the end of a running call.
#ifndef QUANT_SERVER_QUEUE_JOB_FEED_H_
#define QUANT_SERVER_QUEUE_JOB_FEED_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "server/queue/job_store.h"

namespace quant {

class JobFeed {
 public:
  using Listener = std::function<void(const JobStore::Change&)>;

  JobFeed();
  ~JobFeed();

  // Runs `tasks` on the feed's thread, after what was posted before. After
  // Stop, runs them here.
  void Post(std::vector<std::function<void()>> tasks);
  void NotifyDurable(const std::string& id);
  // Merges: a listener that is behind sees only the latest.
  void NotifyProgress(const std::string& id, std::string progress);
  void NotifyClaimable();

  uint64_t Subscribe(const std::string& id, Listener listener);
  void Unsubscribe(uint64_t handle);
  void SetClaimableListener(std::function<void()> listener);

  // Delivers what was posted, then ends the thread. Not from a listener.
  void Stop();

 private:
  struct Subscription {
    std::string id;
    std::shared_ptr<const Listener> listener;  // outlives its own removal
  };

  void Run();
  void Enqueue(std::function<void()> task);  // with mutex_ held
  void Deliver(const std::string& id, const JobStore::Change& change);
  void DeliverProgress(const std::string& id);

  std::mutex mutex_;
  std::condition_variable wake_;  // work_ or stopping_
  std::condition_variable idle_;  // running_ changed
  std::deque<std::function<void()>> work_;
  std::unordered_map<std::string, std::string> pending_progress_;
  std::unordered_map<uint64_t, Subscription> subscriptions_;
  std::unordered_map<std::string, std::set<uint64_t>> handles_;  // by job id
  uint64_t last_handle_ = 0;
  uint64_t claimable_handle_ = 0;
  bool claimable_posted_ = false;
  uint64_t running_ = 0;  // handle whose listener is being called
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_JOB_FEED_H_

#include "server/queue/job_feed.h"

#include <utility>

namespace quant {
namespace {

// No job has this id; the claimable listener lives under it.
constexpr char kClaimable[] = "";

}  // namespace

JobFeed::JobFeed() : thread_([this] { Run(); }) {}

JobFeed::~JobFeed() { Stop(); }

void JobFeed::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void JobFeed::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !work_.empty(); });
    if (work_.empty()) return;
    std::deque<std::function<void()>> batch;
    batch.swap(work_);
    lock.unlock();
    for (std::function<void()>& task : batch) {
      task();
      task = nullptr;
    }
    lock.lock();
  }
}

void JobFeed::Enqueue(std::function<void()> task) {
  if (stopping_) return;
  work_.push_back(std::move(task));
  wake_.notify_one();
}

void JobFeed::Post(std::vector<std::function<void()>> tasks) {
  {
    std::lock_guard lock(mutex_);
    if (!stopping_) {
      for (std::function<void()>& task : tasks) {
        work_.push_back(std::move(task));
      }
      wake_.notify_one();
      return;
    }
  }
  for (std::function<void()>& task : tasks) task();
}

void JobFeed::NotifyDurable(const std::string& id) {
  std::lock_guard lock(mutex_);
  if (handles_.count(id) == 0) return;
  Enqueue([this, id] { Deliver(id, {.durable = true, .progress = {}}); });
}

void JobFeed::NotifyProgress(const std::string& id, std::string progress) {
  std::lock_guard lock(mutex_);
  if (handles_.count(id) == 0) return;
  auto [it, inserted] = pending_progress_.try_emplace(id);
  it->second = std::move(progress);
  if (inserted) Enqueue([this, id] { DeliverProgress(id); });
}

void JobFeed::NotifyClaimable() {
  std::lock_guard lock(mutex_);
  if (claimable_handle_ == 0 || claimable_posted_) return;
  claimable_posted_ = true;
  Enqueue([this] {
    {
      std::lock_guard inner(mutex_);
      claimable_posted_ = false;
    }
    Deliver(kClaimable, {});
  });
}

void JobFeed::DeliverProgress(const std::string& id) {
  JobStore::Change change;
  {
    std::lock_guard lock(mutex_);
    auto node = pending_progress_.extract(id);
    if (node.empty()) return;
    change.progress = std::move(node.mapped());
  }
  Deliver(id, change);
}

void JobFeed::Deliver(const std::string& id, const JobStore::Change& change) {
  std::unique_lock lock(mutex_);
  auto found = handles_.find(id);
  if (found == handles_.end()) return;
  std::vector<uint64_t> handles(found->second.begin(), found->second.end());
  for (uint64_t handle : handles) {
    auto it = subscriptions_.find(handle);
    if (it == subscriptions_.end()) continue;
    std::shared_ptr<const Listener> listener = it->second.listener;
    running_ = handle;
    lock.unlock();
    (*listener)(change);
    listener.reset();
    lock.lock();
    running_ = 0;
    idle_.notify_all();
  }
}

uint64_t JobFeed::Subscribe(const std::string& id, Listener listener) {
  std::lock_guard lock(mutex_);
  uint64_t handle = ++last_handle_;
  subscriptions_[handle] = {
      id, std::make_shared<const Listener>(std::move(listener))};
  handles_[id].insert(handle);
  return handle;
}

void JobFeed::Unsubscribe(uint64_t handle) {
  std::unique_lock lock(mutex_);
  auto node = subscriptions_.extract(handle);
  if (node.empty()) return;
  auto found = handles_.find(node.mapped().id);
  found->second.erase(handle);
  if (found->second.empty()) handles_.erase(found);
  if (std::this_thread::get_id() != thread_.get_id()) {
    idle_.wait(lock, [&] { return running_ != handle; });
  }
  lock.unlock();  // the listener's captures may take locks when they go
}

void JobFeed::SetClaimableListener(std::function<void()> listener) {
  uint64_t added = 0;
  if (listener) {
    added = Subscribe(kClaimable, [listener = std::move(listener)](
                                      const JobStore::Change&) { listener(); });
  }
  uint64_t removed = 0;
  {
    std::lock_guard lock(mutex_);
    removed = std::exchange(claimable_handle_, added);
  }
  if (removed != 0) Unsubscribe(removed);
}

}  // namespace quant

// Thousands of random operations against a model: what a job queue should do,
// written a second time, as plainly as possible, and without the state machine.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "tests/conformance/job_store/harness.h"

namespace quant::testing {
namespace {

using absl::StatusCode;

struct ModelJob {
  JobState state = JobState::kQueued;
  std::string reason;
  int attempt = 0, used = 0, crashes = 0, max_attempts = 0;
  std::string owner, token;
  int64_t lease_until = 0, run_after = 0, sequence = 1;
  int priority = 0;
  int64_t since = 0;  // when it began to wait
  bool artifact = false;
  std::string progress;
};

class Model : public JobStoreTest {
 protected:
  void SetUp() override {
    options_.max_events_per_job = 12;
    JobStoreTest::SetUp();
  }

  int Random(int bound) {
    return std::uniform_int_distribution<int>(0, bound - 1)(random_);
  }
  // An id that is, mostly, a job's.
  std::string AnyId() {
    if (jobs_.empty() || Random(30) == 0) return "00000000000000000000000000";
    return std::next(jobs_.begin(), Random(static_cast<int>(jobs_.size())))
        ->first;
  }
  int64_t now() const { return clock_.NowMicros(); }

  std::vector<std::string> ClaimOrder() {
    std::vector<std::string> order;
    for (const auto& [id, job] : jobs_) {
      if (job.state == JobState::kQueued) order.push_back(id);
    }
    std::sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
      auto key = [&](const std::string& id) {
        const ModelJob& job = jobs_[id];
        const bool due = job.run_after <= now();
        const int64_t rank = job.since - job.priority * kAgeingMicros;
        return std::make_tuple(!due, due ? rank : job.run_after, id);
      };
      return key(a) < key(b);
    });
    return order;
  }

  void Enqueue();
  void Claim();
  void Heartbeat();
  void Finish();
  void Cancel();
  void Retry();
  void Delete();
  void Expire();
  void Release();
  void Progress();
  void Step();
  void CompareAll();

  void EndLease(ModelJob& job) {
    job.token.clear();
    job.owner.clear();
    job.lease_until = 0;
  }
  void To(ModelJob& job, JobState state, const std::string& reason) {
    job.state = state;
    job.reason = reason;
    ++job.sequence;
    if (state != JobState::kRunning && state != JobState::kCancelling) {
      EndLease(job);
    }
  }
  // The backoff is random; take it from the store, within its bounds.
  void BackOff(const std::string& id, ModelJob& job) {
    int64_t delay = options_.backoff_base_micros;
    for (int i = 1; i < job.used; ++i) delay *= 2;
    delay = std::min(delay, options_.backoff_max_micros);
    job.run_after = store_->Get(id)->run_after;
    EXPECT_GE(job.run_after - now(), delay * 8 / 10 - 1);
    EXPECT_LE(job.run_after - now(), delay * 12 / 10 + 1);
  }
  void Fail(const std::string& id, ModelJob& job, bool crashed);
  void CountCrash(ModelJob& job, bool crashed, bool advanced) {
    if (crashed && advanced) --job.used;
    if (crashed && !advanced) ++job.crashes;
    if (advanced) job.crashes = 0;
  }
  void Drain(ModelJob& job) {
    --job.attempt;
    --job.used;
    job.run_after = now();
    To(job, JobState::kQueued, "DRAINED");
  }

  std::mt19937 random_;
  std::map<std::string, ModelJob> jobs_;
  std::map<std::string, std::string> requests_;  // request id -> job
  std::vector<std::pair<std::string, std::string>> tokens_;  // id, token
};
QUANT_FOR_EACH_JOB_STORE(Model);

void Model::Enqueue() {
  EnqueueRequest request{.spec = absl::StrCat("spec", Random(1000)),
                         .max_attempts = 1 + Random(5),
                         .priority = 1 + Random(4)};
  if (Random(2) == 0) {
    request.request_id = absl::StrCat("r", Random(40));
    request.request_digest = absl::StrCat("d", Random(4) == 0);
  }
  auto answer = queue_.Enqueue(request);
  std::string key = request.request_id + "/" + request.request_digest;
  for (const auto& [other, id] : requests_) {
    if (request.request_id.empty() ||
        other.rfind(request.request_id + "/", 0) != 0) {
      continue;
    }
    if (other != key) {
      EXPECT_REASON(answer, StatusCode::kInvalidArgument,
                    Reason::kRequestIdReused);
    } else if (jobs_.count(id) == 0) {
      EXPECT_REASON(answer, StatusCode::kNotFound, Reason::kJobNotFound);
    } else {
      ASSERT_TRUE(answer.ok()) << answer.status();
      EXPECT_EQ(answer->id, id);
    }
    return;
  }
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_TRUE(jobs_.empty() || answer->id > jobs_.rbegin()->first);
  ModelJob& job = jobs_[answer->id];
  job.max_attempts = request.max_attempts;
  job.priority = request.priority;
  job.since = now();
  job.run_after = now();
  if (!request.request_id.empty()) requests_[key] = answer->id;
}

void Model::Claim() {
  std::string owner = absl::StrCat("node", Random(3));
  auto answer = queue_.Claim(owner);
  std::vector<std::string> order = ClaimOrder();
  if (order.empty() || jobs_[order[0]].run_after > now()) {
    EXPECT_REASON(answer, StatusCode::kNotFound, Reason::kJobNotFound);
    return;
  }
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_EQ(answer->id, order[0]);
  ModelJob& job = jobs_[answer->id];
  ++job.attempt;
  ++job.used;
  To(job, JobState::kRunning, "");
  ++job.sequence;
  job.owner = owner;
  job.token = answer->lease_token;
  job.lease_until = now() + options_.lease_ttl_micros;
  job.progress.clear();
  tokens_.emplace_back(answer->id, job.token);
}

void Model::Heartbeat() {
  if (tokens_.empty()) return;
  auto [id, token] = tokens_[Random(tokens_.size())];
  JobRecord lease;
  lease.id = id;
  lease.lease_token = token;
  auto answer = queue_.Heartbeat(lease);
  if (jobs_.count(id) == 0 || jobs_[id].token != token) {
    EXPECT_REASON(answer, StatusCode::kAborted, Reason::kLeaseLost);
    return;
  }
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->state, jobs_[id].state);
  jobs_[id].lease_until = now() + options_.lease_ttl_micros;
}

void Model::Fail(const std::string& id, ModelJob& job, bool crashed) {
  if (crashed && job.crashes >= options_.poison_after) {
    return To(job, JobState::kFailed, "POISON");
  }
  if (job.used >= job.max_attempts) {
    return To(job, JobState::kFailed, "ATTEMPTS_EXHAUSTED");
  }
  To(job, JobState::kQueued, "RETRYING");
  BackOff(id, job);
}

void Model::Finish() {
  if (tokens_.empty()) return;
  FinishRequest request;
  std::tie(request.id, request.lease_token) = tokens_[Random(tokens_.size())];
  request.outcome = static_cast<Outcome>(Random(7));
  request.reason = "WHY";
  request.artifacts = {"artifact"};
  request.journal_advanced = Random(2) == 0;
  auto answer = queue_.Finish(request);
  if (jobs_.count(request.id) == 0 ||
      jobs_[request.id].token != request.lease_token) {
    EXPECT_REASON(answer, StatusCode::kAborted, Reason::kLeaseLost);
    return;
  }
  ModelJob& job = jobs_[request.id];
  bool cancelling = job.state == JobState::kCancelling;
  if (request.outcome == Outcome::kCancelled && !cancelling) {
    EXPECT_EQ(answer.status().code(), StatusCode::kFailedPrecondition);
    return;
  }
  ASSERT_TRUE(answer.ok()) << answer.status();
  bool crashed = request.outcome == Outcome::kCrashed;
  CountCrash(job, crashed, request.journal_advanced);
  if (request.outcome == Outcome::kSucceeded ||
      request.outcome == Outcome::kGateFailed) {
    bool gate = request.outcome == Outcome::kGateFailed;
    job.artifact = true;
    ++job.sequence;
    return To(job, gate ? JobState::kFailed : JobState::kSucceeded,
              gate ? "GATE_FAILED" : "");
  }
  if (cancelling) return To(job, JobState::kCancelled, "");
  switch (request.outcome) {
    case Outcome::kPermanentFailure:
      return To(job, JobState::kFailed, "WHY");
    case Outcome::kDrained:
      return Drain(job);
    default:
      return Fail(request.id, job, crashed);
  }
}

void Model::Cancel() {
  std::string id = AnyId();
  auto answer = queue_.Cancel(id);
  if (jobs_.count(id) == 0) {
    EXPECT_REASON(answer, StatusCode::kNotFound, Reason::kJobNotFound);
    return;
  }
  ASSERT_TRUE(answer.ok()) << answer.status();
  ModelJob& job = jobs_[id];
  if (job.state == JobState::kQueued) To(job, JobState::kCancelled, "");
  if (job.state == JobState::kRunning) To(job, JobState::kCancelling, "");
}

void Model::Retry() {
  std::string id = AnyId();
  auto answer = queue_.Retry(id);
  if (jobs_.count(id) == 0) {
    EXPECT_REASON(answer, StatusCode::kNotFound, Reason::kJobNotFound);
    return;
  }
  ModelJob& job = jobs_[id];
  if (job.state == JobState::kSucceeded) {
    EXPECT_REASON(answer, StatusCode::kFailedPrecondition,
                  Reason::kJobSucceeded);
    return;
  }
  ASSERT_TRUE(answer.ok()) << answer.status();
  if (!IsTerminal(job.state)) return;
  job.used = 0;
  job.crashes = 0;
  job.artifact = false;
  job.progress.clear();
  job.run_after = now();
  job.since = now();
  To(job, JobState::kQueued, "");
}

void Model::Delete() {
  std::string id = AnyId();
  auto answer = queue_.Delete(id);
  if (jobs_.count(id) == 0) {
    EXPECT_REASON(answer, StatusCode::kNotFound, Reason::kJobNotFound);
  } else if (!IsTerminal(jobs_[id].state)) {
    EXPECT_REASON(answer, StatusCode::kFailedPrecondition,
                  Reason::kJobNotTerminal);
  } else {
    ASSERT_TRUE(answer.ok()) << answer.status();
    jobs_.erase(id);
  }
}

void Model::Expire() {
  auto answer = store_->ExpireLeases();
  ASSERT_TRUE(answer.ok()) << answer.status();
  int64_t expired = 0;
  for (auto& [id, job] : jobs_) {
    if (job.token.empty() || job.lease_until > now()) continue;
    ++expired;
    CountCrash(job, true, false);
    if (job.state == JobState::kCancelling) {
      To(job, JobState::kCancelled, "");
    } else {
      Fail(id, job, true);
    }
  }
  EXPECT_EQ(*answer, expired);
}

void Model::Release() {
  std::string owner = absl::StrCat("node", Random(3));
  bool others = Random(2) == 0;
  auto answer =
      others ? store_->ReleaseAllBut(owner) : store_->ReleaseOwner(owner);
  ASSERT_TRUE(answer.ok()) << answer.status();
  int64_t released = 0;
  for (auto& [id, job] : jobs_) {
    if (job.token.empty() || (job.owner == owner) == others) continue;
    ++released;
    if (job.state == JobState::kCancelling) {
      To(job, JobState::kCancelled, "");
    } else {
      Drain(job);
    }
  }
  EXPECT_EQ(*answer, released);
}

void Model::Progress() {
  if (tokens_.empty()) return;
  auto [id, token] = tokens_[Random(tokens_.size())];
  std::string text = absl::StrCat("p", Random(1000));
  store_->Progress(id, token, text);
  if (jobs_.count(id) > 0 && jobs_[id].token == token) {
    jobs_[id].progress = text;
  }
}

void Model::Step() {
  using Operation = void (Model::*)();
  // Weights that keep some dozens of jobs alive and lets leases run out.
  static constexpr std::pair<int, Operation> kOperations[] = {
      {6, &Model::Enqueue}, {8, &Model::Claim},   {4, &Model::Heartbeat},
      {8, &Model::Finish},  {2, &Model::Cancel},  {2, &Model::Retry},
      {2, &Model::Delete},  {1, &Model::Release}, {2, &Model::Expire},
      {3, &Model::Progress}};
  int total = 0;
  for (const auto& [weight, operation] : kOperations) total += weight;
  int pick = Random(total);
  for (const auto& [weight, operation] : kOperations) {
    if (pick < weight) return (this->*operation)();
    pick -= weight;
  }
}

void Model::CompareAll() {
  auto listed = store_->List({.limit = 100'000});
  ASSERT_TRUE(listed.ok()) << listed.status();
  ASSERT_EQ(listed->size(), jobs_.size());
  auto next = listed->rbegin();
  std::map<JobState, int64_t> counts;
  for (const auto& [id, model] : jobs_) {
    SCOPED_TRACE(id);
    const JobRecord& job = *next++;
    ASSERT_EQ(job.id, id);
    ++counts[model.state];
    EXPECT_EQ(job.state, model.state);
    EXPECT_EQ(job.state_reason, model.reason);
    EXPECT_EQ(job.attempt, model.attempt);
    EXPECT_EQ(job.attempt - job.attempts_forgiven, model.used);
    EXPECT_EQ(job.crashes_in_a_row, model.crashes);
    EXPECT_EQ(job.lease_token, model.token);
    EXPECT_EQ(job.lease_owner, model.owner);
    EXPECT_EQ(job.lease_until, model.lease_until);
    EXPECT_EQ(job.run_after, model.run_after);
    EXPECT_EQ(job.priority, model.priority);
    EXPECT_EQ(job.event_sequence, model.sequence);
    EXPECT_EQ(job.progress, model.progress);
    EXPECT_EQ(job.artifacts.size(), model.artifact ? 1u : 0u);
    EXPECT_EQ(job.end_time != 0, IsTerminal(model.state));
    int64_t kept =
        std::min<int64_t>(model.sequence, options_.max_events_per_job);
    auto events = store_->Events(id, model.sequence - kept, 100);
    ASSERT_TRUE(events.ok() && events->has_value());
    ASSERT_EQ(static_cast<int64_t>((*events)->size()), kept);
    EXPECT_EQ((*events)->back().state, model.state);
  }
  QueueStats stats = store_->Stats();
  for (auto& [state, count] : stats.jobs) EXPECT_EQ(count, counts[state]);
  std::vector<std::string> order = ClaimOrder();
  for (size_t i = 0; i < order.size(); ++i) {
    EXPECT_EQ(store_->Place(order[i])->position, static_cast<int64_t>(i));
  }
}

TEST_P(Model, RandomOperations) {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Restart(options_);
    jobs_.clear();
    requests_.clear();
    tokens_.clear();
    random_.seed(seed);
    for (int step = 0; step < 2000; ++step) {
      SCOPED_TRACE(absl::StrCat("step ", step));
      Step();
      if (Random(3) == 0) clock_.Advance(Random(20) * kSecond);
      if (step % 50 == 0) CompareAll();
      if (tokens_.size() > 60) tokens_.erase(tokens_.begin());
      if (HasFailure()) return;
    }
    CompareAll();
  }
}

}  // namespace
}  // namespace quant::testing

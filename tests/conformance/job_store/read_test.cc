// Reading: lists, pages, filters, positions, statistics, events.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/conformance/job_store/harness.h"

namespace quant::testing {
namespace {

using absl::StatusCode;

class Reading : public JobStoreTest {
 protected:
  std::vector<std::string> Ids(const ListQuery& query) {
    auto jobs = store_->List(query);
    EXPECT_TRUE(jobs.ok()) << jobs.status();
    std::vector<std::string> ids;
    for (const JobRecord& job : *jobs) ids.push_back(job.id);
    return ids;
  }
};
QUANT_FOR_EACH_JOB_STORE(Reading);

TEST_P(Reading, PagesFromTheNewest) {
  std::vector<std::string> ids;
  for (int i = 0; i < 25; ++i) {
    ids.insert(ids.begin(), queue_.Enqueue()->id);
  }
  std::vector<std::string> paged;
  std::string before;
  for (int page = 0; page < 3; ++page) {
    std::vector<std::string> some = Ids({.limit = 10, .before_id = before});
    EXPECT_EQ(some.size(), page < 2 ? 10u : 5u);
    paged.insert(paged.end(), some.begin(), some.end());
    before = paged.back();
    // New jobs appear at the front only.
    ASSERT_TRUE(queue_.Enqueue().ok());
  }
  EXPECT_EQ(paged, ids);
  EXPECT_TRUE(Ids({.limit = 10, .before_id = before}).empty());
  EXPECT_TRUE(Ids({.limit = 0}).empty());
  EXPECT_TRUE(Ids({.limit = -1}).empty());
}

TEST_P(Reading, FiltersByTenant) {
  std::vector<std::string> ids;
  for (int i = 0; i < 12; ++i) {
    ids.push_back(queue_
                      .Enqueue({.spec = "s",
                                .labels = {{"n", absl::StrCat(i % 2)}},
                                .owner = {.tenant = i % 3 == 0 ? "a" : "b",
                                          .principal = "p"}})
                      ->id);
  }
  ASSERT_TRUE(queue_.Cancel(ids[3]).ok());
  ASSERT_TRUE(queue_.Cancel(ids[4]).ok());
  ASSERT_EQ(queue_.Claim()->id, ids[0]);
  using Names = std::vector<std::string>;
  EXPECT_EQ(Ids({.tenant = "a"}), (Names{ids[9], ids[6], ids[3], ids[0]}));
  EXPECT_EQ(Ids({.limit = 2, .before_id = ids[9], .tenant = "a"}),
            (Names{ids[6], ids[3]}));
  EXPECT_EQ(Ids({.states = {JobState::kCancelled}, .tenant = "a"}),
            (Names{ids[3]}));
  EXPECT_EQ(Ids({.states = {JobState::kRunning}, .tenant = "a"}),
            (Names{ids[0]}));
  EXPECT_TRUE(Ids({.states = {JobState::kRunning}, .tenant = "b"}).empty());
  EXPECT_EQ(Ids({.labels = {{"n", "1"}}, .tenant = "a"}),
            (Names{ids[9], ids[3]}));
  EXPECT_EQ(Ids({.states = {JobState::kQueued, JobState::kRunning},
                 .labels = {{"n", "0"}},
                 .tenant = "a"}),
            (Names{ids[6], ids[0]}));
  EXPECT_TRUE(Ids({.tenant = ""}).empty());
  EXPECT_EQ(Ids({.limit = 100}).size(), 12u);
  const JobRecord job = *store_->Get(ids[3]);
  EXPECT_EQ(job.owner, (JobOwner{.tenant = "a", .principal = "p"}));
}

TEST_P(Reading, FiltersByStateAndLabels) {
  std::vector<JobRecord> jobs;
  for (int i = 0; i < 12; ++i) {
    jobs.push_back(
        *queue_.Enqueue({.spec = "s",
                         .labels = {{"parity", i % 2 == 0 ? "even" : "odd"},
                                    {"third", absl::StrCat(i % 3)}}}));
  }
  ASSERT_TRUE(queue_.Cancel(jobs[4].id).ok());
  ASSERT_TRUE(queue_.Cancel(jobs[6].id).ok());
  ASSERT_EQ(queue_.Claim()->id, jobs[0].id);
  auto id = [&](int i) { return jobs[i].id; };
  using Names = std::vector<std::string>;
  EXPECT_EQ(Ids({.states = {JobState::kCancelled}}), (Names{id(6), id(4)}));
  EXPECT_EQ(Ids({.states = {JobState::kCancelled, JobState::kRunning,
                            JobState::kCancelled}}),
            (Names{id(6), id(4), id(0)}));
  EXPECT_EQ(
      Ids({.limit = 2, .states = {JobState::kCancelled, JobState::kRunning}}),
      (Names{id(6), id(4)}));
  EXPECT_EQ(Ids({.before_id = id(6),
                 .states = {JobState::kCancelled, JobState::kRunning}}),
            (Names{id(4), id(0)}));
  EXPECT_EQ(Ids({.labels = {{"parity", "odd"}}}),
            (Names{id(11), id(9), id(7), id(5), id(3), id(1)}));
  EXPECT_EQ(Ids({.labels = {{"parity", "even"}, {"third", "0"}}}),
            (Names{id(6), id(0)}));
  EXPECT_EQ(Ids({.states = {JobState::kRunning},
                 .labels = {{"parity", "even"}, {"third", "0"}}}),
            Names{id(0)});
  EXPECT_EQ(Ids({.before_id = id(6),
                 .states = {JobState::kQueued},
                 .labels = {{"parity", "even"}}}),
            Names{id(2)});
  EXPECT_TRUE(Ids({.labels = {{"parity", "neither"}}}).empty());
  EXPECT_TRUE(Ids({.labels = {{"odd", "parity"}}}).empty());
}

TEST_P(Reading, ManyLabels) {
  std::map<std::string, std::string> labels;
  for (int i = 0; i < 10; ++i) labels[absl::StrCat("k", i)] = "v'\"%\n";
  std::string id = queue_.Enqueue({.spec = "s", .labels = labels})->id;
  std::map<std::string, std::string> other = labels;
  other["k9"] = "w";
  ASSERT_TRUE(queue_.Enqueue({.spec = "s", .labels = other}).ok());
  EXPECT_EQ(Ids({.labels = labels}), std::vector<std::string>{id});
  EXPECT_EQ(store_->Get(id)->labels, labels);
}

TEST_P(Reading, BytesSurvive) {
  std::string bytes("\0\x80\xff'; DROP TABLE job;--", 24);
  std::string id = queue_
                       .Enqueue({.spec = bytes,
                                 .labels = {{"k", bytes}},
                                 .request_id = bytes,
                                 .request_digest = bytes})
                       ->id;
  EXPECT_EQ(store_->Get(id)->spec, bytes);
  EXPECT_EQ(store_->Get(id)->labels["k"], bytes);
  EXPECT_EQ(Ids({.labels = {{"k", bytes}}}), std::vector<std::string>{id});
  std::string large(3 << 20, 'x');
  id = queue_.Enqueue({.spec = large})->id;
  EXPECT_EQ(store_->Get(id)->spec, large);
}

TEST_P(Reading, QueuePositionFollowsTheClaimOrder) {
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(queue_.Enqueue()->id);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(store_->Place(ids[i])->position, i);
  JobRecord first = *queue_.Claim();
  EXPECT_REASON(store_->Place(first.id), StatusCode::kNotFound,
                Reason::kJobNotFound);
  EXPECT_EQ(store_->Place(ids[4])->position, 3);
  // With a backoff the oldest job waits behind all that are due.
  JobRecord delayed = *queue_.End(first, Outcome::kRetryableFailure);
  EXPECT_EQ(store_->Place(ids[0])->position, 4);
  EXPECT_EQ(store_->Place(ids[1])->position, 0);
  clock_.Advance(delayed.run_after - clock_.NowMicros());
  EXPECT_EQ(store_->Place(ids[0])->position, 0);
  EXPECT_EQ(store_->Place(ids[1])->position, 1);
  ASSERT_TRUE(queue_.Cancel(ids[2]).ok());
  EXPECT_EQ(store_->Place(ids[4])->position, 3);
}

TEST_P(Reading, StatsCountEverything) {
  EXPECT_EQ(store_->Stats().OldestCreateTime(), 0);
  int64_t first = clock_.NowMicros();
  ASSERT_TRUE(queue_.Enqueue().ok());
  clock_.Advance(kSecond);
  int64_t second = clock_.NowMicros();
  ASSERT_TRUE(queue_.Enqueue().ok());
  EXPECT_EQ(store_->Stats().OldestCreateTime(), first);
  JobRecord job = *queue_.Claim();
  QueueStats stats = store_->Stats();
  EXPECT_EQ(stats.jobs[JobState::kQueued], 1);
  EXPECT_EQ(stats.jobs[JobState::kRunning], 1);
  EXPECT_EQ(stats.OldestCreateTime(), second);
  EXPECT_GE(stats.commands, 3);
  EXPECT_GE(stats.commits, 1);
  EXPECT_LE(stats.commits, stats.commands);
  ASSERT_TRUE(queue_.Cancel(job.id).ok());
  EXPECT_EQ(store_->Stats().jobs[JobState::kCancelling], 1);
  ASSERT_TRUE(queue_.End(job, Outcome::kCancelled).ok());
  stats = store_->Stats();
  EXPECT_EQ(stats.jobs[JobState::kCancelling], 0);
  EXPECT_EQ(stats.jobs[JobState::kCancelled], 1);
  // A refused write changes nothing, and no commit is counted for it.
  EXPECT_FALSE(queue_.Cancel("no such job").ok());
  EXPECT_EQ(store_->Stats().commits, stats.commits);
}

TEST_P(Reading, StatsKnowWhoWaitsByPriority) {
  const int64_t first = clock_.NowMicros();
  ASSERT_TRUE(queue_.Enqueue().ok());
  clock_.Advance(kSecond);
  ASSERT_TRUE(queue_.Enqueue().ok());
  ASSERT_TRUE(queue_.Enqueue({.spec = "s", .priority = kMostPriority}).ok());
  QueueStats stats = store_->Stats();
  EXPECT_EQ(stats.waiting[kNormalPriority].jobs, 2);
  EXPECT_EQ(stats.waiting[kNormalPriority].oldest_create_time, first);
  EXPECT_EQ(stats.waiting[kMostPriority].jobs, 1);
  EXPECT_EQ(stats.waiting[kMostPriority].oldest_create_time, first + kSecond);
  EXPECT_EQ(stats.OldestCreateTime(), first);
  ASSERT_EQ(queue_.Claim()->priority, kMostPriority);
  EXPECT_EQ(store_->Stats().waiting.count(kMostPriority), 0u);
}

TEST_P(Reading, EventsReplayFromAnywhere) {
  JobRecord job = Running();
  FinishRequest finish;
  finish.id = job.id;
  finish.lease_token = job.lease_token;
  finish.gates = {"gate"};
  finish.artifacts = {"artifact"};
  ASSERT_TRUE(queue_.Finish(finish).ok());
  std::vector<JobEvent> all = queue_.AllEvents(job.id);
  ASSERT_EQ(all.size(), 6u);
  const EventKind kinds[] = {EventKind::kState,    EventKind::kState,
                             EventKind::kAttempt,  EventKind::kGate,
                             EventKind::kArtifact, EventKind::kState};
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].kind, kinds[i]) << i;
    EXPECT_EQ(all[i].sequence, static_cast<int64_t>(i) + 1);
    EXPECT_EQ(all[i].time, clock_.NowMicros());
  }
  EXPECT_EQ(all[2].attempt, 1);
  EXPECT_EQ(all[3].payload, "gate");
  EXPECT_EQ(all[4].payload, "artifact");
  EXPECT_EQ(all[5].state, JobState::kSucceeded);
  for (int64_t after = 0; after <= 6; ++after) {
    auto some = store_->Events(job.id, after, 2);
    ASSERT_TRUE(some.ok() && some->has_value());
    EXPECT_EQ((*some)->size(), std::min<size_t>(2, 6 - after));
    if (after < 6) EXPECT_EQ((**some)[0].sequence, after + 1);
  }
  EXPECT_REASON(store_->Events(job.id, 7, 1), StatusCode::kOutOfRange,
                Reason::kSequenceInFuture);
  EXPECT_REASON(store_->Events(job.id, -1, 1), StatusCode::kInvalidArgument,
                Reason::kInvalidSpec);
}

TEST_P(Reading, OldEventsAreCompacted) {
  options_.max_events_per_job = 10;
  Restart(options_);
  std::string id = queue_.Enqueue()->id;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(queue_.End(*queue_.Claim(), Outcome::kDrained).ok());
  }
  int64_t latest = store_->Get(id)->event_sequence;
  EXPECT_EQ(latest, 61);
  for (int64_t after = 0; after < latest - 10; ++after) {
    auto events = store_->Events(id, after, 100);
    ASSERT_TRUE(events.ok()) << events.status();
    EXPECT_FALSE(events->has_value()) << after;
  }
  auto kept = store_->Events(id, latest - 10, 100);
  ASSERT_TRUE(kept.ok() && kept->has_value());
  EXPECT_EQ((*kept)->size(), 10u);
  EXPECT_EQ((*kept)->back().sequence, latest);
  EXPECT_TRUE(store_->Events(id, latest, 100)->value().empty());
}

}  // namespace
}  // namespace quant::testing

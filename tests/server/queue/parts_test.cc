// The parts that both stores are made of.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "server/queue/job_feed.h"
#include "server/queue/job_id.h"
#include "server/queue/job_index.h"
#include "server/queue/record_cache.h"
#include "server/queue/sqlite_rows.h"
#include "server/queue/sqlite_schema.h"

namespace quant {
namespace {

TEST(JobId, RoundTripsAndSorts) {
  const JobKey keys[] = {{0, 0},     {0, 1}, {0, 31},       {0, 32},
                         {0, ~0ull}, {1, 0}, {~0ull, ~0ull}};
  std::string last;
  for (JobKey key : keys) {
    std::string id = FormatJobKey(key);
    EXPECT_EQ(id.size(), 26u);
    EXPECT_EQ(ParseJobKey(id), key);
    EXPECT_LT(last, id);
    last = id;
  }
  EXPECT_EQ(FormatJobKey({0, 32}), "00000000000000000000000010");
  EXPECT_EQ(FormatJobKey({~0ull, ~0ull}), "7zzzzzzzzzzzzzzzzzzzzzzzzz");
}

TEST(JobId, RefusesWhatItWouldNotWrite) {
  for (std::string id :
       {std::string(), std::string(25, '0'), std::string(27, '0'),
        std::string(26, '8'), std::string(26, 'i'), std::string(26, 'A'),
        "0" + std::string(25, '\0'), "0" + std::string(25, 'u')}) {
    EXPECT_FALSE(ParseJobKey(id).has_value()) << id;
  }
}

TEST(JobId, IncreasesHoweverTheClockMoves) {
  JobIdGenerator ids({});
  std::string last = ids.Next(1'700'000'000'000'000);
  for (int64_t now : {1'700'000'000'000'000, 1'700'000'000'000'999,
                      1'600'000'000'000'000, 1'800'000'000'000'000}) {
    for (int i = 0; i < 100; ++i) {
      std::string id = ids.Next(now);
      EXPECT_LT(last, id);
      last = id;
    }
  }
  JobIdGenerator carries({7, ~0ull});
  EXPECT_EQ(*ParseJobKey(carries.Next(0)), (JobKey{8, 0}));
}

TEST(JobIndex, PositionsOfManyJobs) {
  JobIndex index;
  std::vector<std::string> ids;
  JobIdGenerator generator({});
  for (int i = 0; i < 1000; ++i) {
    JobBrief job{.id = generator.Next(i * 1000), .run_after = i < 500 ? 0 : i};
    ids.push_back(job.id);
    index.Replace(nullptr, &job);
  }
  for (int i = 0; i < 1000; ++i)
    EXPECT_EQ(index.Place(ids[i], 10)->position, i);
  EXPECT_EQ(*index.NextDue(10), ids[0]);
  EXPECT_EQ(*index.NextDueTime(), 500);
  EXPECT_FALSE(index.Place("nonsense", 10).has_value());
}

TEST(JobIndex, ProgressNeedsTheLease) {
  JobIndex index;
  JobBrief job{.id = FormatJobKey({1, 1}),
               .state = JobState::kRunning,
               .lease_owner = "o",
               .lease_token = "t"};
  index.Replace(nullptr, &job);
  EXPECT_FALSE(index.SetProgress(job.id, "u", "p"));
  EXPECT_FALSE(index.HasUnwritten());
  EXPECT_TRUE(index.SetProgress(job.id, "t", "p"));
  EXPECT_TRUE(index.HasUnwritten());
  EXPECT_EQ(index.TakeUnwritten(), std::vector<std::string>{job.id});
  EXPECT_FALSE(index.HasUnwritten());
  JobRecord record;
  record.id = job.id;
  record.lease_token = "t";
  // A lease that ended is known until its end is settled.
  index.Replace(&job, nullptr);
  index.Overlay(record);
  EXPECT_EQ(record.progress, "p");
  index.Settle();
  record.progress = "written";
  index.Overlay(record);
  EXPECT_EQ(record.progress, "written");
}

TEST(JobFeed, ProgressIsMergedForASlowListener) {
  JobFeed feed;
  std::promise<void> entered, go;
  std::atomic<int> calls{0};
  std::string last;
  uint64_t handle = feed.Subscribe("job", [&](const JobStore::Change& change) {
    if (++calls == 1) {
      entered.set_value();
      go.get_future().wait();
    }
    last = change.progress;
  });
  feed.NotifyProgress("job", "first");
  entered.get_future().wait();
  for (int i = 0; i < 1000; ++i) feed.NotifyProgress("job", absl::StrCat(i));
  go.set_value();
  feed.Stop();
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(last, "999");
  feed.Unsubscribe(handle);
}

TEST(JobFeed, UnsubscribeWaitsForARunningCall) {
  JobFeed feed;
  std::promise<void> entered;
  std::atomic<bool> done{false};
  uint64_t handle = feed.Subscribe("job", [&](const JobStore::Change&) {
    entered.set_value();
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();
    done = true;
  });
  feed.NotifyDurable("job");
  entered.get_future().wait();
  feed.Unsubscribe(handle);
  EXPECT_TRUE(done);
}

TEST(JobFeed, PostRunsInOrderAndAlsoAfterStop) {
  JobFeed feed;
  std::vector<int> order;
  feed.Post({[&] { order.push_back(1); }, [&] { order.push_back(2); }});
  feed.Post({[&] { order.push_back(3); }});
  feed.Stop();
  feed.Post({[&] { order.push_back(4); }});
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
}

TEST(RecordCache, IsBoundedAndForgetsTheLeastUsed) {
  RecordCache cache(16 * 10'000);
  auto put = [&](int i) {
    auto job = std::make_shared<JobRecord>();
    job->id = absl::StrCat(i);
    job->spec = std::string(1000, 's');
    cache.Put(std::move(job));
  };
  put(0);
  for (int i = 1; i < 1000; ++i) {
    put(i);
    ASSERT_NE(cache.Get("0"), nullptr) << i;  // used, hence kept
  }
  int kept = 0;
  for (int i = 0; i < 1000; ++i) kept += cache.Get(absl::StrCat(i)) != nullptr;
  EXPECT_GT(kept, 16);
  EXPECT_LE(kept, 160);
  cache.Remove("0");
  EXPECT_EQ(cache.Get("0"), nullptr);
}

TEST(SqliteRows, ListsOfStrings) {
  for (const std::vector<std::string>& strings :
       {std::vector<std::string>{},
        {""},
        {"a", "", "3:x"},
        {std::string("\0\xff:", 3), "1:"}}) {
    auto decoded = DecodeStrings(EncodeStrings(strings));
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(*decoded, strings);
  }
  for (std::string bad :
       {"x", "1", "2:a", "-1:a", ":a", "18446744073709551615:a", "1:a1"}) {
    EXPECT_EQ(DecodeStrings(bad).status().code(), absl::StatusCode::kDataLoss)
        << bad;
  }
}

TEST(SqliteSchema, NetworkFileSystemsAreRefusedByName) {
  struct Row {
    int64_t magic;
    const char* name;
  };
  for (Row row : {Row{0x6969, "NFS"}, Row{0xFF534D42, "CIFS"},
                  Row{static_cast<int32_t>(0xFF534D42), "CIFS"},
                  Row{0xFE534D42, "SMB2"}}) {
    absl::Status refused = CheckFileSystem(row.magic, "/data/queue.db");
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_TRUE(absl::StrContains(refused.message(), row.name));
    EXPECT_TRUE(absl::StrContains(refused.message(), "/data/queue.db"));
  }
  // ext4, tmpfs, overlay, XFS, FUSE
  for (int64_t magic :
       {0xEF53, 0x01021994, 0x794c7630, 0x58465342, 0x65735546}) {
    EXPECT_TRUE(CheckFileSystem(magic, "/data").ok());
  }
}

}  // namespace
}  // namespace quant

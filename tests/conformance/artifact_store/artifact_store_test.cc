// What every artifact store promises, without faults.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "core/base/digest.h"
#include "core/base/file.h"
#include "tests/conformance/artifact_store/harness.h"

namespace quant::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

QUANT_FOR_EACH_ARTIFACT_STORE(ArtifactStoreTest);

TEST_P(ArtifactStoreTest, PublishesReadsAndRemembers) {
  const Contents contents = {{"model.safetensors", std::string(100'000, 'w')},
                             {"manifest.json", "{}"},
                             {"sub/dir/empty", ""}};
  const ArtifactRecord made = Publish(kJob, "W4A16", contents);
  EXPECT_EQ(made.id.size(), 26u);
  for (int restart = 0; restart < 2; ++restart) {
    const auto record = store_->Get(made.id);
    ASSERT_TRUE(record.ok()) << record.status();
    EXPECT_EQ(record->job_id, kJob);
    EXPECT_EQ(record->output, "W4A16");
    EXPECT_EQ(record->create_time, made.create_time);
    EXPECT_FALSE(record->gate_failed);
    ASSERT_EQ(record->files.size(), 3u);
    EXPECT_TRUE(std::is_sorted(
        record->files.begin(), record->files.end(),
        [](const auto& a, const auto& b) { return a.path < b.path; }));
    for (const auto& [path, bytes] : contents) {
      const auto read = ReadAll(made.id, path);
      ASSERT_TRUE(read.ok()) << read.status();
      EXPECT_EQ(*read, bytes);
    }
    Reopen();
  }
  EXPECT_THAT(ListIds(), ElementsAre(made.id));
}

TEST_P(ArtifactStoreTest, PublishIsIdempotentPerOutput) {
  const ArtifactRecord first = Publish(kJob, "out", {{"a", "first"}});
  Reopen();
  const PublishRequest again = Output(kJob, "out", {{"a", "second, longer"}});
  const auto second = store_->Publish(again);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->id, first.id);
  EXPECT_EQ(*ReadAll(first.id, "a"), "first");
  EXPECT_FALSE(fs::exists(again.directory)) << "consumed all the same";
  EXPECT_THAT(ListIds(), ElementsAre(first.id));
  EXPECT_NE(Publish(kJob, "out2", {{"a", "x"}}).id, first.id);
  EXPECT_NE(Publish(kOtherJob, "out", {{"a", "x"}}).id, first.id);
}

TEST_P(ArtifactStoreTest, GateFailuresAreMarked) {
  PublishRequest request = Output(kJob, "out", {{"a", "x"}});
  request.gate_failed = true;
  const auto made = store_->Publish(std::move(request));
  ASSERT_TRUE(made.ok());
  Reopen();
  EXPECT_TRUE(store_->Get(made->id)->gate_failed);
}

TEST_P(ArtifactStoreTest, WhatIsNotAsPromisedIsRefusedAndKept) {
  const auto refuse = [this](const PublishRequest& request) {
    EXPECT_REASON(store_->Publish(request), absl::StatusCode::kDataLoss,
                  Reason::kDigestMismatch);
    EXPECT_THAT(ListIds(), IsEmpty());
    EXPECT_TRUE(fs::exists(request.directory)) << "a retry may mend it";
  };
  PublishRequest longer = Output(kJob, "longer", {{"a", "12345"}});
  longer.files[0].size_bytes = 4;
  refuse(longer);
  PublishRequest missing = Output(kJob, "missing", {{"a", "1"}, {"b", "2"}});
  fs::remove(fs::path(missing.directory) / "b");
  refuse(missing);
  const PublishRequest extra = Output(kJob, "extra", {{"a", "1"}});
  std::ofstream(fs::path(extra.directory) / "stray") << "x";
  refuse(extra);
  PublishRequest link = Output(kJob, "link", {{"a", "1"}});
  fs::remove(fs::path(link.directory) / "a");
  std::ofstream(fs::path(root_) / "z") << "1";
  fs::create_symlink(fs::path(root_) / "z", fs::path(link.directory) / "a");
  refuse(link);
}

TEST_P(ArtifactStoreTest, OnlyTheJobsOwnWorkIsPublished) {
  const fs::path elsewhere = fs::path(root_) / "elsewhere";
  fs::create_directories(elsewhere);
  std::ofstream(elsewhere / "a") << "x";
  PublishRequest request = Output(kJob, "out", {{"a", "x"}});
  request.directory = elsewhere.string();
  EXPECT_FALSE(store_->Publish(request).ok());
  request.directory = Output(kOtherJob, "out", {{"a", "x"}}).directory;
  EXPECT_FALSE(store_->Publish(request).ok());
  request.directory = *store_->WorkDirectory(kJob) + "/../../elsewhere";
  EXPECT_FALSE(store_->Publish(request).ok());
  EXPECT_TRUE(fs::exists(elsewhere / "a"));
  EXPECT_THAT(ListIds(), IsEmpty());
}

TEST_P(ArtifactStoreTest, NamesThatAreNoNamesReachNothing) {
  std::ofstream(fs::path(root_) / "secret") << "s";
  const ArtifactRecord made = Publish(kJob, "out", {{"a", "x"}});
  for (const std::string path :
       {"../record.json", "../../../secret", "/etc/passwd", "a/../a", "./a", "",
        "a/", "A", "sub"}) {
    EXPECT_REASON(store_->Open(made.id, path), absl::StatusCode::kNotFound,
                  Reason::kArtifactNotFound);
  }
  for (const std::string id : {"..", ".", "", "../artifacts", "/etc", kJob,
                               "01HF0000000000000000000000"}) {
    EXPECT_REASON(store_->Get(id), absl::StatusCode::kNotFound,
                  Reason::kArtifactNotFound);
    EXPECT_REASON(store_->Open(id, "a"), absl::StatusCode::kNotFound,
                  Reason::kArtifactNotFound);
    EXPECT_REASON(store_->Delete(id), absl::StatusCode::kNotFound,
                  Reason::kArtifactNotFound);
  }
  for (const std::string job : {"..", "", "a/b", "../../etc", "short"}) {
    EXPECT_FALSE(store_->WorkDirectory(job).ok()) << job;
    EXPECT_FALSE(store_->RemoveWorkDirectory(job).ok()) << job;
  }
  PublishRequest escaping = Output(kJob, "out2", {{"a", "x"}});
  escaping.output = "../../out2";
  EXPECT_FALSE(store_->Publish(escaping).ok());
  EXPECT_THAT(ListIds(), ElementsAre(made.id));
}

TEST_P(ArtifactStoreTest, ListsNewestFirstInPages) {
  std::vector<std::string> ids;
  for (int i = 0; i < 7; ++i) {
    ids.push_back(Publish(i % 2 == 0 ? kJob : kOtherJob,
                          "out" + std::to_string(i), {{"a", "x"}})
                      .id);
    // Ids ascend although the clock stands still, or goes back.
    if (i == 3) clock_.Set(clock_.NowMicros() - 5'000'000);
    if (i == 4) Reopen();
  }
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
  std::reverse(ids.begin(), ids.end());
  EXPECT_EQ(ListIds(), ids);
  std::vector<std::string> paged;
  std::string before;
  for (int page = 0; page < 5; ++page) {
    const auto records = store_->List({.before_id = before, .limit = 2});
    ASSERT_TRUE(records.ok());
    for (const auto& record : *records) paged.push_back(record.id);
    if (!records->empty()) before = records->back().id;
  }
  EXPECT_EQ(paged, ids);
  EXPECT_THAT(ListIds(kJob), ElementsAre(ids[0], ids[2], ids[4], ids[6]));
  const auto later =
      store_->List({.job_id = kJob, .before_id = ids[2], .limit = 1});
  ASSERT_EQ(later->size(), 1u);
  EXPECT_EQ(later->front().id, ids[4]);
  EXPECT_THAT(*store_->List({.job_id = kJob, .limit = 0}), IsEmpty());
}

TEST_P(ArtifactStoreTest, DeletedIsGoneButAnOpenReadGoesOn) {
  const std::string bytes(300'000, 'b');
  const ArtifactRecord made = Publish(kJob, "out", {{"a", bytes}});
  auto reader = store_->Open(made.id, "a");
  ASSERT_TRUE(reader.ok());
  std::string got(bytes.size(), '\0');
  auto* const out = reinterpret_cast<uint8_t*>(got.data());
  ASSERT_TRUE((*reader)->ReadAt(0, absl::MakeSpan(out, 1000)).ok());
  ASSERT_TRUE(store_->Delete(made.id).ok());
  ASSERT_TRUE(
      (*reader)->ReadAt(1000, absl::MakeSpan(out + 1000, 299'000)).ok());
  EXPECT_EQ(got, bytes);
  for (int restart = 0; restart < 2; ++restart) {
    EXPECT_REASON(store_->Get(made.id), absl::StatusCode::kNotFound,
                  Reason::kArtifactNotFound);
    EXPECT_REASON(store_->Delete(made.id), absl::StatusCode::kNotFound,
                  Reason::kArtifactNotFound);
    EXPECT_THAT(ListIds(), IsEmpty());
    EXPECT_EQ(*store_->UsedBytes(), 0);
    Reopen();
  }
  // The name of the output is free again.
  EXPECT_NE(Publish(kJob, "out", {{"a", "new"}}).id, made.id);
}

TEST_P(ArtifactStoreTest, CountsBytes) {
  Publish(kJob, "one", {{"a", std::string(1000, 'a')}, {"b", "bb"}});
  const ArtifactRecord two = Publish(kJob, "two", {{"a", "ccc"}});
  EXPECT_EQ(*store_->UsedBytes(), 1005);
  Reopen();
  EXPECT_EQ(*store_->UsedBytes(), 1005);
  ASSERT_TRUE(store_->Delete(two.id).ok());
  EXPECT_EQ(*store_->UsedBytes(), 1002);
  EXPECT_GT(*store_->FreeBytes(), 0);
}

TEST_P(ArtifactStoreTest, WorkDirectoriesLastUntilRemoved) {
  const std::string work = *store_->WorkDirectory(kJob);
  std::ofstream(fs::path(work) / "journal") << "line";
  Reopen();
  EXPECT_EQ(*store_->WorkDirectory(kJob), work);
  EXPECT_TRUE(fs::exists(fs::path(work) / "journal"));
  EXPECT_TRUE(store_->RemoveWorkDirectory(kJob).ok());
  EXPECT_FALSE(fs::exists(work));
  EXPECT_TRUE(store_->RemoveWorkDirectory(kJob).ok());
}

TEST_P(ArtifactStoreTest, TruncatedFilesAreNeverServed) {
  const ArtifactRecord made = Publish(kJob, "out", {{"weights", "12345678"}});
  for (const auto& entry : fs::recursive_directory_iterator(root_)) {
    if (entry.path().filename() == "weights") fs::resize_file(entry, 7);
  }
  EXPECT_REASON(store_->Open(made.id, "weights"), absl::StatusCode::kDataLoss,
                Reason::kDigestMismatch);
}

// A store may remember what was compared with its digest, but not beyond a
// change of the file that even puts its times back.
TEST_P(ArtifactStoreTest, VerifiedFilesAreRememberedUntilTheyAreTouched) {
  const ArtifactRecord made = Publish(kJob, "out", {{"a", "12"}, {"b", "3"}});
  const auto verified = [&](const std::string& path) {
    return (*store_->Open(made.id, path))->verified();
  };
  const auto before = *store_->Open(made.id, "a");
  EXPECT_FALSE(before->verified());
  before->MarkVerified();
  EXPECT_TRUE(verified("a"));
  EXPECT_FALSE(verified("b"));
  for (const auto& entry : fs::recursive_directory_iterator(root_)) {
    if (entry.path().filename() != "a") continue;
    const auto time = fs::last_write_time(entry);
    std::ofstream(entry.path(), std::ios::binary) << "1X";
    fs::last_write_time(entry, time);
  }
  EXPECT_FALSE(verified("a"));
  before->MarkVerified();
  EXPECT_FALSE(verified("a")) << "it was changed while it was read";
  (*store_->Open(made.id, "a"))->MarkVerified();
  EXPECT_TRUE(verified("a"));
  Reopen();
  EXPECT_FALSE(verified("a")) << "a start forgets";
}

TEST_P(ArtifactStoreTest, FilesUntouchedSinceTheyWereHashedAreVerified) {
  const std::string work = *store_->WorkDirectory(kJob);
  const std::string directory = JoinPath(work, "out");
  ASSERT_TRUE(MakeDirectories(directory).ok());
  PublishRequest request{.job_id = kJob,
                         .output = "out",
                         .directory = directory,
                         .files = {},
                         .gate_failed = false,
                         .hashed = {}};
  for (const std::string name :
       {"as_hashed", "changed_since", "never_hashed"}) {
    const std::string path = JoinPath(directory, name);
    ASSERT_TRUE(WriteFileAtomically(path, "12", /*sync=*/false).ok());
    request.files.push_back({name, 2, Sha256Hex("12")});
    if (name != "never_hashed") request.hashed[name] = *StampOf(path);
  }
  ASSERT_TRUE(WriteFileAtomically(JoinPath(directory, "changed_since"), "1X",
                                  /*sync=*/false)
                  .ok());
  const ArtifactRecord made = *store_->Publish(request);
  EXPECT_TRUE((*store_->Open(made.id, "as_hashed"))->verified());
  EXPECT_FALSE((*store_->Open(made.id, "changed_since"))->verified());
  EXPECT_FALSE((*store_->Open(made.id, "never_hashed"))->verified());
}

TEST_P(ArtifactStoreTest, ManyThreadsPublishOneArtifact) {
  const ArtifactRecord other = Publish(kOtherJob, "out", {{"a", "x"}});
  constexpr int kThreads = 8;
  std::vector<PublishRequest> requests;
  for (int t = 0; t < kThreads; ++t) {
    PublishRequest request =
        Output(kJob, "copy" + std::to_string(t), {{"a", "same"}});
    request.output = "out";
    requests.push_back(std::move(request));
  }
  std::vector<std::string> ids(kThreads);
  std::atomic<bool> torn = false;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const auto made = store_->Publish(requests[t]);
      if (made.ok()) ids[t] = made->id;
      // Whatever is listed is whole.
      const std::vector<ArtifactRecord> listed = *store_->List({.limit = 100});
      for (const ArtifactRecord& record : listed) {
        torn = torn || !store_->Open(record.id, "a").ok();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 1u);
  EXPECT_FALSE(torn);
  EXPECT_THAT(ListIds(), ElementsAre(ids[0], other.id));
}

TEST_P(ArtifactStoreTest, SweepsWhilePublishingLoseNothing) {
  std::atomic<bool> stop = false;
  std::thread sweeper([&] {
    while (!stop) EXPECT_TRUE(store_->Sweep({kJob, kOtherJob}).ok());
  });
  std::vector<std::string> made;
  for (int i = 0; i < 50; ++i) {
    made.push_back(Publish(kJob, "out" + std::to_string(i), {{"a", "x"}}).id);
    if (i % 3 == 0) {
      EXPECT_TRUE(store_->Delete(made.back()).ok());
      made.pop_back();
    }
  }
  stop = true;
  sweeper.join();
  std::reverse(made.begin(), made.end());
  EXPECT_EQ(ListIds(), made);
  for (const std::string& id : made) EXPECT_EQ(*ReadAll(id, "a"), "x");
}

TEST_P(ArtifactStoreTest, BelongToTenants) {
  const auto publish = [&](const std::string& output,
                           const std::string& tenant) {
    PublishRequest request = Output(kJob, output, {{"a", "12345"}});
    request.tenant = tenant;
    return *store_->Publish(std::move(request));
  };
  const ArtifactRecord one = publish("one", "a");
  const ArtifactRecord two = publish("two", "b");
  const auto listed = [&](const std::string& job, const std::string& tenant) {
    const auto records = store_->List({.job_id = job, .tenant = tenant});
    std::vector<std::string> ids;
    for (const ArtifactRecord& record : *records) ids.push_back(record.id);
    return ids;
  };
  for (int restart = 0; restart < 2; ++restart) {
    for (const std::string& job : {std::string(), std::string(kJob)}) {
      EXPECT_THAT(listed(job, "a"), ElementsAre(one.id));
      EXPECT_THAT(listed(job, "b"), ElementsAre(two.id));
      EXPECT_THAT(listed(job, ""), IsEmpty());
    }
    EXPECT_EQ(store_->Get(one.id)->tenant, "a");
    EXPECT_EQ(*store_->TenantBytes("a"), 5);
    EXPECT_EQ(*store_->TenantBytes("c"), 0);
    Reopen();
  }
  // In pages, past what others have.
  const ArtifactRecord three = publish("three", "a");
  EXPECT_THAT(listed("", "a"), ElementsAre(three.id, one.id));
  const auto page = [&](const std::string& before) {
    return store_->List({.tenant = "a", .before_id = before, .limit = 1});
  };
  EXPECT_EQ((*page(""))[0].id, three.id);
  EXPECT_EQ((*page(three.id))[0].id, one.id);
  EXPECT_TRUE(page(one.id)->empty());
  ASSERT_TRUE(store_->Delete(one.id).ok());
  ASSERT_TRUE(store_->Delete(three.id).ok());
  EXPECT_EQ(*store_->TenantBytes("a"), 0);
  EXPECT_THAT(listed("", "a"), IsEmpty());
}

}  // namespace
}  // namespace quant::testing

#include "server/maintenance/janitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "quant/v1/job.pb.h"
#include "server/queue/memory_job_store.h"
#include "server/store/local_artifact_store.h"
#include "server/store/local_upload_store.h"
#include "tests/core/base/temp_dir.h"

namespace quant {
namespace {

constexpr int64_t kHour = int64_t{3600} * 1'000'000;

class HandClock final : public Clock {
 public:
  int64_t NowMicros() const override { return now_; }
  int64_t MonotonicMicros() const override { return now_; }
  void Advance(int64_t micros) { now_ += micros; }

 private:
  std::atomic<int64_t> now_{int64_t{1'700'000'000} * 1'000'000};
};

class JanitorTest : public testing::Test {
 protected:
  JanitorTest() {
    jobs_ = MakeMemoryJobStore({}, clock_);
    artifacts_ = *OpenLocalArtifactStore(root_.path(),
                                         {.sync = false, .clock = &clock_});
    OpenUploads();
  }
  ~JanitorTest() override { jobs_->Stop(); }

  void OpenUploads() {
    uploads_.reset();
    uploads_ =
        *OpenLocalUploadStore(root_.path(), {.sync = false, .clock = &clock_});
  }
  void Sweep(const JanitorOptions& options) {
    Janitor({*jobs_, *artifacts_, *uploads_, *logs_}, metrics_, clock_, options)
        .Sweep();
  }

  JobRecord Await(const std::function<void(JobCallback)>& start) {
    std::promise<absl::StatusOr<JobRecord>> promise;
    start([&](absl::StatusOr<JobRecord> answer) {
      promise.set_value(std::move(answer));
    });
    const auto answer = promise.get_future().get();
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? *answer : JobRecord();
  }
  JobRecord Enqueue(EnqueueRequest request = {.spec = ""}) {
    return Await([&](JobCallback done) {
      jobs_->Enqueue(std::move(request), std::move(done));
    });
  }
  JobRecord Claim() {
    return Await([&](JobCallback done) { jobs_->Claim("w", std::move(done)); });
  }
  JobRecord End(const JobRecord& job) {
    FinishRequest finish = {.id = job.id, .lease_token = job.lease_token};
    finish.artifacts = {Publish(job.id)};
    return Await([&](JobCallback done) {
      jobs_->Finish(std::move(finish), std::move(done));
    });
  }
  // A job that has just ended, with an artifact.
  JobRecord Ended(int64_t retention = 0) {
    Enqueue({.spec = "", .retention = retention});
    return End(Claim());
  }
  std::string Publish(const std::string& job) {
    const std::string directory = *artifacts_->WorkDirectory(job) + "/out";
    EXPECT_TRUE(MakeDirectories(directory).ok());
    EXPECT_TRUE(WriteFileAtomically(directory + "/a", "bytes", false).ok());
    return artifacts_
        ->Publish({.job_id = job,
                   .output = "out",
                   .directory = directory,
                   .files = {{"a", 5, Sha256Hex("bytes")}}})
        ->id;
  }
  bool Has(const JobRecord& job) {
    const bool has = jobs_->Get(job.id).ok();
    EXPECT_EQ(artifacts_->Get(job.artifacts[0]).ok(), has);
    return has;
  }

  UploadRecord Upload(const std::string& bytes, bool send = true) {
    const auto upload =
        uploads_->Create({{"m.safetensors", static_cast<int64_t>(bytes.size()),
                           Sha256Hex(bytes)}},
                         "t", nullptr);
    EXPECT_TRUE(upload.ok()) << upload.status();
    if (!send) return *upload;
    auto writer = *uploads_->OpenBlob(upload->id, Sha256Hex(bytes));
    EXPECT_TRUE(writer
                    ->Append({reinterpret_cast<const uint8_t*>(bytes.data()),
                              bytes.size()})
                    .ok());
    EXPECT_TRUE(writer->Finish().ok());
    return *upload;
  }
  bool Has(const UploadRecord& upload) { return uploads_->Get(upload.id).ok(); }
  std::string BlobPath(const std::string& bytes) const {
    return root_.File("tenants/t/blobs/" + Sha256Hex(bytes));
  }

  TempDir root_;
  HandClock clock_;
  Metrics metrics_;
  std::unique_ptr<JobStore> jobs_;
  std::unique_ptr<ArtifactStore> artifacts_;
  std::unique_ptr<UploadStore> uploads_;
  std::unique_ptr<JobLogs> logs_ = *JobLogs::Open(root_.path());
};

TEST_F(JanitorTest, EndedJobsGoWithTheirArtifacts) {
  const JobRecord silent = Ended();
  const JobRecord own = Ended(/*retention=*/kHour);
  const JobRecord running = Enqueue();
  Claim();
  clock_.Advance(2 * kHour);
  const JobRecord late = [&] {
    Enqueue();
    return End(Claim());
  }();
  Sweep({});
  EXPECT_TRUE(Has(silent)) << "it is kept for ever";
  EXPECT_FALSE(Has(own));
  EXPECT_FALSE(PathExists(root_.File("artifacts/" + own.artifacts[0])));
  EXPECT_FALSE(PathExists(root_.File("work/" + own.id)));
  Sweep({.retention_micros = kHour});
  EXPECT_FALSE(Has(silent));
  EXPECT_TRUE(Has(late));
  EXPECT_TRUE(jobs_->Get(running.id).ok()) << "it has not ended";
  EXPECT_THAT(
      metrics_.Render(),
      testing::HasSubstr("quant_storage_swept_total{kind=\"artifact\"} 2"));
}

TEST_F(JanitorTest, MoreThanAPage) {
  for (int i = 0; i < 250; ++i) Ended();
  clock_.Advance(2 * kHour);
  Sweep({.retention_micros = kHour});
  EXPECT_TRUE(jobs_->List({})->empty());
  EXPECT_TRUE(artifacts_->List({})->empty());
}

TEST_F(JanitorTest, WhatCantBeDeletedHoldsUpNothing) {
  std::vector<JobRecord> jobs;
  for (int i = 0; i < 130; ++i) jobs.push_back(Ended());
  // What lies where the trash should go is in the way.
  const auto trash = [&](int i) {
    return root_.File("trash/" + jobs[i].artifacts[0]);
  };
  for (int i = 0; i < 120; ++i) {
    ASSERT_TRUE(MakeDirectories(trash(i) + "/more").ok());
  }
  clock_.Advance(2 * kHour);
  Sweep({.retention_micros = kHour});
  for (int i = 0; i < 130; ++i) EXPECT_EQ(Has(jobs[i]), i < 120) << i;
  for (int i = 0; i < 120; ++i) ASSERT_TRUE(RemoveTree(trash(i)).ok());
  Sweep({.retention_micros = kHour});
  EXPECT_TRUE(jobs_->List({})->empty());
}

TEST_F(JanitorTest, UploadsThatNobodyUses) {
  const UploadRecord unfinished = Upload("unfinished", /*send=*/false);
  const UploadRecord unused = Upload("unused");
  const UploadRecord source = Upload("source");
  const UploadRecord text = Upload("text");
  v1::JobSpec spec;
  spec.mutable_source()->set_upload("uploads/" + source.id);
  spec.mutable_calibration()->mutable_source()->set_upload("uploads/" +
                                                           text.id);
  Enqueue({.spec = spec.SerializeAsString()});
  clock_.Advance(2 * kHour);
  const UploadRecord fresh = Upload("fresh");
  Sweep({});
  EXPECT_TRUE(Has(unused)) << "without a limit they are kept";
  const JanitorOptions options = {.upload_ttl_micros = kHour};
  Sweep(options);
  EXPECT_FALSE(Has(unfinished));
  EXPECT_FALSE(Has(unused));
  EXPECT_FALSE(PathExists(BlobPath("unused")));
  for (const UploadRecord& upload : {source, text, fresh}) {
    EXPECT_TRUE(Has(upload));
  }
  EXPECT_TRUE(PathExists(BlobPath("source")));
  clock_.Advance(kHour + 1);
  End(Claim());
  Sweep(options);
  EXPECT_FALSE(Has(source)) << "its job has ended";
  EXPECT_FALSE(Has(fresh));
  EXPECT_EQ(*uploads_->TenantBytes("t"), 0);
}

TEST_F(JanitorTest, UseIsToDeclareToSendAndToAskFor) {
  const UploadRecord upload = Upload("bytes");
  const JanitorOptions options = {.upload_ttl_micros = kHour};
  const std::function<void()> uses[] = {
      [&] { Upload("bytes", /*send=*/false); },
      [&] { (void)uploads_->OpenBlob(upload.id, Sha256Hex("bytes")); },
      [&] { EXPECT_TRUE(uploads_->Directory(upload.id).ok()); }};
  for (const auto& use : uses) {
    clock_.Advance(kHour * 3 / 4);
    use();
    clock_.Advance(kHour * 3 / 4);
    OpenUploads();
    Sweep(options);
    EXPECT_TRUE(Has(upload));
  }
  clock_.Advance(kHour);
  Sweep(options);
  EXPECT_FALSE(Has(upload));
  EXPECT_FALSE(PathExists(root_.File("uploads/" + upload.id)));
}

TEST_F(JanitorTest, AnUploadThatIsBeingWrittenStays) {
  const UploadRecord upload = Upload("bytes", /*send=*/false);
  auto writer = *uploads_->OpenBlob(upload.id, Sha256Hex("bytes"));
  clock_.Advance(2 * kHour);
  const JanitorOptions options = {.upload_ttl_micros = kHour};
  Sweep(options);
  EXPECT_TRUE(Has(upload));
  writer.reset();
  Sweep(options);
  EXPECT_TRUE(Has(upload)) << "it was in use until now";
}

TEST_F(JanitorTest, WhatACrashLeftOfUploads) {
  const UploadRecord upload = Upload("bytes");
  ASSERT_TRUE(uploads_->Directory(upload.id).ok());
  const std::string orphans[] = {BlobPath("gone"),
                                 root_.File("tenants/t/blobs/incoming/x"),
                                 root_.File("blobs/" + Sha256Hex("gone"))};
  for (const std::string& path : orphans) {
    ASSERT_TRUE(WriteFileAtomically(path, "gone", false).ok());
  }
  const std::string unlinked = root_.File("uploads/" + upload.id + ".tmp");
  ASSERT_TRUE(MakeDirectories(unlinked).ok());
  Sweep({});
  for (const std::string& path : orphans) EXPECT_FALSE(PathExists(path));
  EXPECT_FALSE(PathExists(unlinked));
  EXPECT_TRUE(uploads_->Directory(upload.id).ok());
  EXPECT_TRUE(PathExists(BlobPath("bytes")));
}

TEST_F(JanitorTest, LogsGoWithTheirJobs) {
  const JobRecord own = Ended(/*retention=*/kHour);
  const JobRecord other = Ended();
  const std::string orphan = "0123456789abcdefghjkmnpqrs";
  for (const std::string& id : {own.id, other.id, orphan}) {
    JobLogs::Writer(*logs_, {.job_id = id}).Note(LogLevel::kInfo, "event");
  }
  clock_.Advance(2 * kHour);
  Sweep({});
  EXPECT_EQ(*logs_->Ids(), std::vector<std::string>{other.id});
}

TEST_F(JanitorTest, ItSweepsByItself) {
  const JobRecord own = Ended(/*retention=*/kHour);
  Janitor janitor({*jobs_, *artifacts_, *uploads_, *logs_}, metrics_, clock_,
                  {.interval_micros = 1000});
  janitor.Start();
  clock_.Advance(kHour);
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (jobs_->Get(own.id).ok()) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    std::this_thread::yield();
  }
}

}  // namespace
}  // namespace quant

// A publication is stopped after each of its steps, as a crash would, by
// putting the disk into that state; then the server starts again.
#include <filesystem>
#include <fstream>

#include "core/base/file.h"
#include "server/store/artifact_record.h"
#include "tests/conformance/artifact_store/harness.h"

namespace quant::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kId[] = "01hf0000000000000000000zzz";

class ArtifactCrashTest : public ArtifactStoreTest {
 protected:
  void SetUp() override {
    ArtifactStoreTest::SetUp();
    request_ = Output(kJob, "out", {{"a", "alpha"}, {"sub/b", "beta"}});
    record_ = {.id = kId,
               .job_id = kJob,
               .output = "out",
               .files = request_.files,
               .create_time = clock_.NowMicros()};
    staging_ = root_ + "/incoming/" + kJob + ".out";
  }

  void WriteRecord() {
    fs::create_directories(staging_);
    std::ofstream(staging_ + "/record.json") << ArtifactRecordToJson(record_);
  }

  // Nothing is listed, and the next attempt publishes.
  void ExpectUnpublished() {
    EXPECT_THAT(ListIds(), IsEmpty());
    EXPECT_REASON(store_->Get(kId), absl::StatusCode::kNotFound,
                  Reason::kArtifactNotFound);
    ASSERT_TRUE(store_->Sweep({kJob}).ok());
    EXPECT_TRUE(fs::is_empty(root_ + "/incoming"));
    const ArtifactRecord made =
        Publish(kJob, "out", {{"a", "alpha"}, {"sub/b", "beta"}});
    EXPECT_THAT(ListIds(), ElementsAre(made.id));
    EXPECT_EQ(*ReadAll(made.id, "sub/b"), "beta");
  }

  void ExpectPublished() {
    EXPECT_THAT(ListIds(), ElementsAre(kId));
    EXPECT_EQ(*ReadAll(kId, "a"), "alpha");
    EXPECT_EQ(*ReadAll(kId, "sub/b"), "beta");
    // The attempt that comes next is answered with it.
    const auto again = store_->Publish(request_);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->id, kId);
    ASSERT_TRUE(store_->Sweep({}).ok());
    EXPECT_EQ(*ReadAll(kId, "a"), "alpha");
    EXPECT_THAT(ListIds(), ElementsAre(kId));
  }

  PublishRequest request_;
  ArtifactRecord record_;
  std::string staging_;
};

QUANT_FOR_EACH_ARTIFACT_STORE(ArtifactCrashTest);

TEST_P(ArtifactCrashTest, BeforeAnything) {
  Reopen();
  ExpectUnpublished();
}

TEST_P(ArtifactCrashTest, AfterTheStagingDirectory) {
  fs::create_directories(staging_);
  Reopen();
  ExpectUnpublished();
}

TEST_P(ArtifactCrashTest, InsideTheRecord) {
  fs::create_directories(staging_);
  const std::string text = ArtifactRecordToJson(record_);
  std::ofstream(staging_ + "/record.json") << text.substr(0, text.size() / 2);
  fs::rename(request_.directory, staging_ + "/files");
  Reopen();
  ExpectUnpublished();
}

TEST_P(ArtifactCrashTest, AfterTheRecordBeforeTheFiles) {
  WriteRecord();
  Reopen();
  EXPECT_TRUE(fs::exists(request_.directory)) << "still the attempt's";
  ExpectUnpublished();
}

TEST_P(ArtifactCrashTest, AfterTheFilesMoved) {
  WriteRecord();
  fs::rename(request_.directory, staging_ + "/files");
  Reopen();
  ExpectPublished();
}

// No crash: the last rename failed, and the attempt is made again.
TEST_P(ArtifactCrashTest, AFailedLastRenameIsTakenUp) {
  WriteRecord();
  fs::rename(request_.directory, staging_ + "/files");
  const auto record = store_->Publish(request_);
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->id, kId);
  ExpectPublished();
}

TEST_P(ArtifactCrashTest, AMalformedDigestIsRefused) {
  request_.files[0].sha256 = "0123";
  EXPECT_REASON(store_->Publish(request_), absl::StatusCode::kDataLoss,
                Reason::kDigestMismatch);
  EXPECT_THAT(ListIds(), IsEmpty());
}

TEST_P(ArtifactCrashTest, AfterTheFilesMovedButOneIsShort) {
  WriteRecord();
  fs::rename(request_.directory, staging_ + "/files");
  fs::resize_file(staging_ + "/files/sub/b", 3);
  Reopen();
  ExpectUnpublished();
}

TEST_P(ArtifactCrashTest, AfterTheLastRename) {
  WriteRecord();
  fs::rename(request_.directory, staging_ + "/files");
  fs::rename(staging_, root_ + "/artifacts/" + kId);
  Reopen();
  ExpectPublished();
}

TEST_P(ArtifactCrashTest, InTheMiddleOfADeletion) {
  const ArtifactRecord made = Publish(kJob, "out2", {{"a", "x"}});
  fs::rename(root_ + "/artifacts/" + made.id, root_ + "/trash/" + made.id);
  Reopen();
  EXPECT_THAT(ListIds(), IsEmpty());
  EXPECT_GT(*store_->Sweep({}), 0);
  EXPECT_TRUE(fs::is_empty(root_ + "/trash"));
}

TEST_P(ArtifactCrashTest, SweepKeepsWhatIsWanted) {
  const ArtifactRecord made = Publish(kOtherJob, "out", {{"a", "x"}});
  std::ofstream(*store_->WorkDirectory(kOtherJob) + "/journal")
      << std::string(1000, 'j');
  Reopen();
  const auto freed = store_->Sweep({kJob});
  ASSERT_TRUE(freed.ok());
  EXPECT_EQ(*freed, 1000);
  EXPECT_FALSE(fs::exists(fs::path(root_) / "work" / kOtherJob));
  EXPECT_TRUE(fs::exists(request_.directory));
  EXPECT_THAT(ListIds(), ElementsAre(made.id));
  EXPECT_EQ(*store_->Sweep({kJob}), 0);
}

TEST_P(ArtifactCrashTest, ForeignThingsInTheDirectoryAreNotListed) {
  const std::string artifacts = root_ + "/artifacts/";
  fs::create_directories(artifacts + "lost+found");
  fs::create_directories(artifacts + kId);
  std::ofstream(artifacts + "file") << "x";
  // A record that lies under another name, and one with a hostile path.
  fs::create_directories(artifacts + "01hf0000000000000000000yyy");
  std::ofstream(artifacts + "01hf0000000000000000000yyy/record.json")
      << ArtifactRecordToJson(record_);
  record_.files[0].path = "../../../etc/passwd";
  std::ofstream(artifacts + kId + "/record.json")
      << ArtifactRecordToJson(record_);
  Reopen();
  EXPECT_THAT(ListIds(), IsEmpty());
}

}  // namespace
}  // namespace quant::testing

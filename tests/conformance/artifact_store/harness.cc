#include "tests/conformance/artifact_store/harness.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "core/base/digest.h"
#include "core/base/file.h"
#include "server/store/local_artifact_store.h"

namespace quant::testing {

namespace fs = std::filesystem;

void ArtifactStoreTest::SetUp() {
  std::string name = JoinPath(::testing::TempDir(), "artifacts.XXXXXX");
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  root_ = name;
  Reopen();
}

void ArtifactStoreTest::TearDown() {
  store_.reset();
  fs::remove_all(root_);
}

void ArtifactStoreTest::Reopen() {
  store_.reset();
  ASSERT_EQ(GetParam(), "local");
  auto store = OpenLocalArtifactStore(root_, {.sync = false, .clock = &clock_});
  ASSERT_TRUE(store.ok()) << store.status();
  store_ = *std::move(store);
}

PublishRequest ArtifactStoreTest::Output(const std::string& job_id,
                                         const std::string& output,
                                         const Contents& contents) {
  const auto work = store_->WorkDirectory(job_id);
  EXPECT_TRUE(work.ok()) << work.status();
  const std::string directory = *work + "/outputs/" + output;
  fs::create_directories(directory);
  PublishRequest request{
      .job_id = job_id, .output = output, .directory = directory, .files = {}};
  for (const auto& [path, bytes] : contents) {
    const fs::path file = fs::path(directory) / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << bytes;
    request.files.push_back({.path = path,
                             .size_bytes = static_cast<int64_t>(bytes.size()),
                             .sha256 = Sha256Hex(bytes)});
  }
  return request;
}

ArtifactRecord ArtifactStoreTest::Publish(const std::string& job_id,
                                          const std::string& output,
                                          const Contents& contents) {
  auto record = store_->Publish(Output(job_id, output, contents));
  EXPECT_TRUE(record.ok()) << record.status();
  return record.ok() ? *record : ArtifactRecord();
}

absl::StatusOr<std::string> ArtifactStoreTest::ReadAll(
    const std::string& id, const std::string& path) {
  auto reader = store_->Open(id, path);
  if (!reader.ok()) return reader.status();
  std::string bytes((*reader)->size_bytes(), '\0');
  const absl::Status status = (*reader)->ReadAt(
      0,
      absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()));
  if (!status.ok()) return status;
  return bytes;
}

std::vector<std::string> ArtifactStoreTest::ListIds(const std::string& job_id) {
  const auto records = store_->List({.job_id = job_id, .limit = 1000});
  EXPECT_TRUE(records.ok()) << records.status();
  std::vector<std::string> ids;
  for (const ArtifactRecord& record : *records) ids.push_back(record.id);
  return ids;
}

}  // namespace quant::testing

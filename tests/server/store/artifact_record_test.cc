#include "server/store/artifact_record.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/store_id.h"

namespace quant {
namespace {

ArtifactRecord Sample() {
  return {.id = "01hf00000000000000000000aa",
          .job_id = "01hf00000000000000000000bb",
          .output = "W4A16",
          .files = {{"a \"quoted\"\n.json", 0, std::string(64, '0')},
                    {"dir/b", int64_t{1} << 40, std::string(64, 'f')}},
          .create_time = 1'700'000'000'123'456,
          .gate_failed = true};
}

TEST(ArtifactRecordTest, RoundTrips) {
  const ArtifactRecord sample = Sample();
  const auto parsed = ParseArtifactRecord(ArtifactRecordToJson(sample));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->id, sample.id);
  EXPECT_EQ(parsed->job_id, sample.job_id);
  EXPECT_EQ(parsed->output, sample.output);
  EXPECT_EQ(parsed->create_time, sample.create_time);
  EXPECT_TRUE(parsed->gate_failed);
  ASSERT_EQ(parsed->files.size(), 2u);
  EXPECT_EQ(parsed->files[0].path, sample.files[0].path);
  EXPECT_EQ(parsed->files[1].size_bytes, int64_t{1} << 40);
  EXPECT_EQ(parsed->files[1].sha256, std::string(64, 'f'));
}

TEST(ArtifactRecordTest, EveryTruncationIsRefused) {
  const std::string text = ArtifactRecordToJson(Sample());
  // The last bytes are "}\n": the record is whole without the newline.
  for (size_t size = 0; size + 1 < text.size(); ++size) {
    EXPECT_FALSE(ParseArtifactRecord(text.substr(0, size)).ok()) << size;
  }
}

TEST(ArtifactRecordTest, HostileNamesAreRefused) {
  for (const char* id : {"", "..", "../../etc/passwd", "short"}) {
    ArtifactRecord record = Sample();
    record.id = id;
    EXPECT_FALSE(ParseArtifactRecord(ArtifactRecordToJson(record)).ok()) << id;
  }
  for (const char* path : {"", "..", "/etc/passwd", "a/../../b"}) {
    ArtifactRecord record = Sample();
    record.files[0].path = path;
    EXPECT_FALSE(ParseArtifactRecord(ArtifactRecordToJson(record)).ok())
        << path;
  }
}

TEST(StoreIdTest, IdsSortByTimeAndDiffer) {
  std::set<std::string> same_time;
  for (int i = 0; i < 1000; ++i) same_time.insert(NewStoreId(1'000'000));
  EXPECT_EQ(same_time.size(), 1000u);
  std::string last;
  for (int64_t millis = 1; millis < int64_t{1} << 44; millis *= 3) {
    const std::string id = NewStoreId(millis * 1000);
    EXPECT_TRUE(IsStoreId(id)) << id;
    EXPECT_GT(id, last);
    last = id;
  }
}

TEST(StoreIdTest, OnlyPlainNamesAreIds) {
  EXPECT_TRUE(IsStoreId(std::string(26, 'a')));
  for (const std::string& id : std::vector<std::string>{
           "", std::string(25, 'a'), std::string(27, 'a'),
           std::string(25, 'a') + "/", std::string(25, 'a') + ".",
           std::string(25, 'a') + "A", std::string(26, '\0')}) {
    EXPECT_FALSE(IsStoreId(id)) << id;
  }
}

}  // namespace
}  // namespace quant

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/local_upload_store.h"
#include "tests/core/base/temp_dir.h"

namespace quant {
namespace {

namespace fs = std::filesystem;
using ::testing::SizeIs;

StoredFile Declare(const std::string& path, const std::string& bytes) {
  return {.path = path,
          .size_bytes = static_cast<int64_t>(bytes.size()),
          .sha256 = Sha256Hex(bytes)};
}

absl::Span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

void ExpectError(const absl::Status& status, absl::StatusCode code,
                 Reason reason) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_EQ(GetReason(status), reason) << status;
}

class UploadStoreTest : public testing::Test {
 protected:
  UploadStoreTest() { Reopen(); }

  void Reopen() {
    store_.reset();
    auto store = OpenLocalUploadStore(root_.path(), {.sync = false});
    EXPECT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }

  UploadRecord Create(std::vector<StoredFile> files) {
    auto upload = store_->Create(std::move(files), "", nullptr);
    EXPECT_TRUE(upload.ok()) << upload.status();
    return upload.ok() ? *upload : UploadRecord();
  }

  std::unique_ptr<BlobWriter> OpenBlob(const UploadRecord& upload,
                                       const std::string& bytes) {
    auto writer = store_->OpenBlob(upload.id, Sha256Hex(bytes));
    EXPECT_TRUE(writer.ok()) << writer.status();
    return writer.ok() ? *std::move(writer) : nullptr;
  }

  void Send(const UploadRecord& upload, const std::string& bytes) {
    auto writer = OpenBlob(upload, bytes);
    ASSERT_NE(writer, nullptr);
    ASSERT_TRUE(writer->Append(Bytes(bytes)).ok());
    ASSERT_TRUE(writer->Finish().ok());
    EXPECT_TRUE(writer->complete());
  }

  TempDir root_;
  std::unique_ptr<UploadStore> store_;
};

TEST_F(UploadStoreTest, FilesArriveAndBecomeADirectory) {
  const std::string weights(3'000'000, 'w');
  UploadRecord upload =
      Create({Declare("model.safetensors", weights),
              Declare("sub/config.json", "{}"), Declare("copy.json", "{}")});
  EXPECT_FALSE(upload.complete());
  EXPECT_THAT(upload.missing, SizeIs(2)) << "one per digest";
  ExpectError(store_->Directory(upload.id).status(),
              absl::StatusCode::kFailedPrecondition, Reason::kSourceMissing);
  Send(upload, weights);
  EXPECT_THAT(store_->Get(upload.id)->missing, SizeIs(1));
  Send(upload, "{}");
  for (int restart = 0; restart < 2; ++restart) {
    const auto complete = store_->Get(upload.id);
    ASSERT_TRUE(complete.ok()) << complete.status();
    EXPECT_TRUE(complete->complete());
    EXPECT_EQ(complete->create_time, upload.create_time);
    const auto directory = store_->Directory(upload.id);
    ASSERT_TRUE(directory.ok()) << directory.status();
    EXPECT_EQ(*ReadFile(*directory + "/model.safetensors", 1 << 30), weights);
    EXPECT_EQ(*ReadFile(*directory + "/sub/config.json", 100), "{}");
    EXPECT_EQ(*ReadFile(*directory + "/copy.json", 100), "{}");
    Reopen();
  }
  // Whoever has the bytes already sends nothing.
  EXPECT_TRUE(Create({Declare("other/name.bin", weights)}).complete());
}

TEST_F(UploadStoreTest, TheSameDeclarationIsTheSameUpload) {
  const std::vector<StoredFile> files = {Declare("a", "1"), Declare("b", "2")};
  const UploadRecord first = Create(files);
  EXPECT_EQ(first.id.size(), 26u);
  Reopen();
  const UploadRecord again = Create({files[1], files[0]});
  EXPECT_EQ(again.id, first.id);
  EXPECT_EQ(again.create_time, first.create_time);
  EXPECT_NE(Create({Declare("a", "1")}).id, first.id);
  EXPECT_NE(Create({Declare("a", "2"), Declare("b", "1")}).id, first.id);
}

TEST_F(UploadStoreTest, HostileDeclarationsAreRefusedByField) {
  const StoredFile good = Declare("good", "x");
  const auto refuse = [&](StoredFile bad, const std::string& field) {
    const absl::Status status =
        store_->Create({good, bad}, "", nullptr).status();
    ExpectError(status, absl::StatusCode::kInvalidArgument,
                Reason::kInvalidSpec);
    EXPECT_EQ(GetField(status), "files[1]." + field) << status;
  };
  for (const std::string& path : std::vector<std::string>{
           "", "/etc/passwd", "..", "../x", "a/../b", "./a", "a//b", "a/",
           std::string("a\0b", 3), std::string(513, 'a'), "good"}) {
    StoredFile bad = Declare("x", "x");
    bad.path = path;
    refuse(bad, "path");
  }
  for (const std::string& sha :
       {std::string("xyz"), std::string(64, 'A'), std::string(63, 'a'),
        std::string("../../../../../../../../../../../../../etc/passwd0000000"
                    "00000")}) {
    StoredFile bad = Declare("x", "x");
    bad.sha256 = sha;
    refuse(bad, "sha256");
  }
  StoredFile negative = Declare("x", "y");
  negative.size_bytes = -1;
  refuse(negative, "size_bytes");
  StoredFile other_size = Declare("x", "x");
  other_size.size_bytes = 2;
  refuse(other_size, "size_bytes");
  EXPECT_FALSE(store_->Create({}, "", nullptr).ok());
  EXPECT_FALSE(
      store_->Create({Declare("a", "1"), Declare("a/b", "2")}, "", nullptr)
          .ok());
  EXPECT_FALSE(
      store_->Create(std::vector<StoredFile>(10'001, good), "", nullptr).ok());
  EXPECT_TRUE(fs::is_empty(root_.File("uploads")));
}

TEST_F(UploadStoreTest, WhatDoesNotFitOnTheDiskIsRefusedEarly) {
  StoredFile huge = Declare("huge", "x");
  huge.size_bytes = INT64_MAX;
  StoredFile also = Declare("also", "y");
  also.size_bytes = INT64_MAX;
  ExpectError(store_->Create({huge, also}, "", nullptr).status(),
              absl::StatusCode::kResourceExhausted, Reason::kStorageFull);
  EXPECT_TRUE(fs::is_empty(root_.File("uploads")));
}

TEST_F(UploadStoreTest, UnknownNamesAreNotFound) {
  const UploadRecord upload = Create({Declare("a", "1")});
  for (const std::string& id :
       std::vector<std::string>{"", "..", "../blobs", std::string(26, '0'),
                                std::string(26, '/'), upload.id + "0"}) {
    ExpectError(store_->Get(id).status(), absl::StatusCode::kNotFound,
                Reason::kUploadNotFound);
    ExpectError(store_->Directory(id).status(), absl::StatusCode::kNotFound,
                Reason::kUploadNotFound);
  }
  // Only what the upload declares: another's digest tells nothing.
  Send(Create({Declare("secret", "s")}), "s");
  ExpectError(store_->OpenBlob(upload.id, Sha256Hex("s")).status(),
              absl::StatusCode::kNotFound, Reason::kBlobNotFound);
  ExpectError(store_->QueryBlob(upload.id, Sha256Hex("s")).status(),
              absl::StatusCode::kNotFound, Reason::kBlobNotFound);
}

TEST_F(UploadStoreTest, AnInterruptedBlobGoesOnWhereItStopped) {
  const std::string bytes(2'500'000, 'x');
  const std::string sha = Sha256Hex(bytes);
  const UploadRecord upload = Create({Declare("a", bytes)});
  EXPECT_EQ(store_->QueryBlob(upload.id, sha)->committed_size, 0);
  {
    auto writer = OpenBlob(upload, bytes);
    ASSERT_TRUE(writer->Append(Bytes(bytes.substr(0, 1'234'567))).ok());
    EXPECT_EQ(store_->QueryBlob(upload.id, sha)->committed_size, 1'234'567);
  }
  Reopen();
  EXPECT_FALSE(store_->QueryBlob(upload.id, sha)->complete);
  auto writer = OpenBlob(upload, bytes);
  EXPECT_EQ(writer->committed_size(), 1'234'567);
  EXPECT_FALSE(writer->complete());
  ASSERT_TRUE(writer->Append(Bytes(bytes.substr(1'234'567))).ok());
  const absl::Status finished = writer->Finish();
  EXPECT_TRUE(finished.ok()) << finished;
  const auto status = store_->QueryBlob(upload.id, sha);
  EXPECT_TRUE(status->complete);
  EXPECT_EQ(status->committed_size, 2'500'000);
}

TEST_F(UploadStoreTest, BytesDamagedBetweenTwoWritersAreFound) {
  const std::string bytes(1000, 'x');
  const UploadRecord upload = Create({Declare("a", bytes)});
  ASSERT_TRUE(
      OpenBlob(upload, bytes)->Append(Bytes(bytes.substr(0, 500))).ok());
  {
    std::fstream file(root_.File("blobs/incoming/" + Sha256Hex(bytes)),
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(100);
    file.put('y');
  }
  {
    auto writer = OpenBlob(upload, bytes);
    ASSERT_TRUE(writer->Append(Bytes(bytes.substr(500))).ok());
    ExpectError(writer->Finish(), absl::StatusCode::kInvalidArgument,
                Reason::kDigestMismatch);
    EXPECT_EQ(writer->committed_size(), 0) << "the bytes are dropped";
    // The same writer may start over.
    ASSERT_TRUE(writer->Append(Bytes(bytes)).ok());
    EXPECT_TRUE(writer->Finish().ok());
  }
  EXPECT_TRUE(store_->Get(upload.id)->complete());
}

TEST_F(UploadStoreTest, TooMuchAndTooLittleAreRefused) {
  const UploadRecord upload = Create({Declare("a", "12345")});
  auto writer = OpenBlob(upload, "12345");
  ASSERT_TRUE(writer->Append(Bytes("123")).ok());
  ExpectError(writer->Append(Bytes("456")), absl::StatusCode::kInvalidArgument,
              Reason::kOffsetInvalid);
  EXPECT_EQ(writer->committed_size(), 3) << "an error costs nothing";
  ExpectError(writer->Finish(), absl::StatusCode::kInvalidArgument,
              Reason::kDigestMismatch);
  EXPECT_FALSE(store_->Get(upload.id)->complete());
}

TEST_F(UploadStoreTest, OneWriterPerBlob) {
  const UploadRecord upload = Create({Declare("a", "12345")});
  const UploadRecord other = Create({Declare("b", "12345")});
  auto writer = OpenBlob(upload, "12345");
  for (const UploadRecord* from : {&upload, &other}) {
    ExpectError(store_->OpenBlob(from->id, Sha256Hex("12345")).status(),
                absl::StatusCode::kAborted, Reason::kBlobBusy);
  }
  writer.reset();
  Send(other, "12345");
  EXPECT_TRUE(store_->Get(upload.id)->complete());
  // Two may look at what is complete already, one after the other.
  auto stored = OpenBlob(upload, "12345");
  EXPECT_TRUE(stored->complete());
  EXPECT_EQ(stored->committed_size(), 5);
  EXPECT_TRUE(stored->Finish().ok());
  EXPECT_FALSE(stored->Append(Bytes("x")).ok());
}

TEST_F(UploadStoreTest, RacingWritersLeaveOneGoodBlob) {
  const std::string bytes(200'000, 'r');
  const UploadRecord upload = Create({Declare("a", bytes)});
  std::atomic<int> finished = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 6; ++t) {
      threads.emplace_back([&] {
        for (;;) {
          auto writer = store_->OpenBlob(upload.id, Sha256Hex(bytes));
          if (!writer.ok()) continue;  // busy
          if ((*writer)->complete()) break;
          EXPECT_TRUE((*writer)->Append(Bytes(bytes)).ok());
          EXPECT_TRUE((*writer)->Finish().ok());
          ++finished;
          break;
        }
      });
    }
  }
  EXPECT_EQ(finished, 1);
  const auto directory = store_->Directory(upload.id);
  ASSERT_TRUE(directory.ok()) << directory.status();
  EXPECT_EQ(*ReadFile(*directory + "/a", 1 << 20), bytes);
}

TEST_F(UploadStoreTest, EmptyFilesNeedNoBytes) {
  const UploadRecord upload = Create({Declare("empty", "")});
  Send(upload, "");
  const auto directory = store_->Directory(upload.id);
  ASSERT_TRUE(directory.ok()) << directory.status();
  EXPECT_EQ(*ReadFile(*directory + "/empty", 1), "");
}

TEST_F(UploadStoreTest, AHalfLinkedDirectoryIsMadeAgain) {
  const UploadRecord upload = Create({Declare("a", "1"), Declare("d/b", "2")});
  Send(upload, "1");
  Send(upload, "2");
  const std::string half = root_.File("uploads/" + upload.id + ".tmp");
  fs::create_directories(half);
  std::ofstream(half + "/stray") << "x";
  Reopen();
  const auto directory = store_->Directory(upload.id);
  ASSERT_TRUE(directory.ok()) << directory.status();
  EXPECT_FALSE(fs::exists(*directory + "/stray"));
  EXPECT_EQ(*ReadFile(*directory + "/d/b", 10), "2");
}

TEST_F(UploadStoreTest, ADamagedDeclarationIsNotAnUploadAndCanBeMadeAgain) {
  const UploadRecord upload = Create({Declare("a", "1")});
  const std::string path = root_.File("uploads/" + upload.id + ".json");
  for (const char* text :
       {"", "{", "[]", "{\"create_time\": \"x\"}",
        "{\"create_time\": 1, \"files\": [{\"path\": "
        "\"../x\", \"size_bytes\": 1, \"sha256\": \"\"}]}"}) {
    std::ofstream(path, std::ios::trunc) << text;
    EXPECT_FALSE(store_->Get(upload.id).ok()) << text;
  }
  EXPECT_EQ(Create({Declare("a", "1")}).id, upload.id);
  EXPECT_TRUE(store_->Get(upload.id).ok());
}

// Knowing a digest is not having the bytes.
TEST_F(UploadStoreTest, TenantsShareNothing) {
  const std::vector<StoredFile> files = {Declare("model.safetensors", "12345")};
  const UploadRecord ours = *store_->Create(files, "a", nullptr);
  Send(ours, "12345");
  EXPECT_TRUE(store_->Get(ours.id)->complete());
  for (const char* other : {"b", ""}) {
    const UploadRecord theirs = *store_->Create(files, other, nullptr);
    EXPECT_NE(theirs.id, ours.id);
    EXPECT_FALSE(theirs.complete()) << other;
    EXPECT_GT(*store_->TenantBytes(other), 5) << "they pay for it too";
    // Nor do they wait for each other's writers.
    EXPECT_NE(OpenBlob(theirs, "12345"), nullptr);
  }
  EXPECT_TRUE(store_->Create(files, "a", nullptr)->complete());
  Reopen();
  EXPECT_EQ(store_->Get(ours.id)->tenant, "a");
  EXPECT_EQ(*ReadFile(*store_->Directory(ours.id) + "/model.safetensors", 100),
            "12345");
  EXPECT_FALSE(store_->Create(files, "../x", nullptr).ok());
}

// Of each blob once, here or still to come, and of the declarations.
TEST_F(UploadStoreTest, DeclaredBytesCount) {
  const auto bytes = [&] { return *store_->TenantBytes(""); };
  EXPECT_EQ(bytes(), 0);
  int64_t asked = 0;
  const auto declare = [&](std::vector<StoredFile> files) {
    asked = 0;
    const int64_t before = bytes();
    const auto upload = store_->Create(std::move(files), "", [&](int64_t more) {
      asked = more;
      return absl::OkStatus();
    });
    EXPECT_TRUE(upload.ok()) << upload.status();
    EXPECT_EQ(bytes() - before, asked);
    return *upload;
  };
  const std::string large(5000, 'x');
  const UploadRecord first =
      declare({Declare("a", large), Declare("copy", large)});
  EXPECT_GT(asked, 5000);
  EXPECT_LT(asked, 6000);
  declare({Declare("b", large)});
  EXPECT_GT(asked, 0);
  EXPECT_LT(asked, 1000) << "the blob counts already";
  declare({Declare("b", large)});
  EXPECT_EQ(asked, 0) << "nothing is new";
  const int64_t total = bytes();
  Send(first, large);
  EXPECT_EQ(bytes(), total) << "it was expected";
  Reopen();
  EXPECT_EQ(bytes(), total);
  UploadStore::SweepRequest all;
  all.unused_since = INT64_MAX;
  all.keep = {first.id};
  EXPECT_EQ(store_->Sweep(all)->uploads, 1);
  EXPECT_GT(bytes(), 5000);
  all.keep.clear();
  const auto swept = store_->Sweep(all);
  EXPECT_EQ(swept->uploads, 1);
  EXPECT_EQ(swept->bytes, 5000);
  EXPECT_EQ(bytes(), 0);
}

TEST_F(UploadStoreTest, WhatIsNotAdmittedIsNotDeclared) {
  const std::vector<StoredFile> files = {Declare("a", "1")};
  const auto refused = store_->Create(files, "", [](int64_t) {
    return absl::ResourceExhaustedError("too much");
  });
  EXPECT_EQ(refused.status().message(), "too much");
  EXPECT_TRUE(fs::is_empty(root_.path() + "/uploads"));
  EXPECT_EQ(*store_->TenantBytes(""), 0);
  // Two at a time are not admitted on one answer.
  std::vector<std::thread> threads;
  std::atomic<int> admitted = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      const auto upload = store_->Create(
          {Declare(absl::StrCat("f", i), std::string(1000 + i, 'x'))}, "",
          [&](int64_t more) {
            return *store_->TenantBytes("") + more <= 3000
                       ? absl::OkStatus()
                       : absl::ResourceExhaustedError("too much");
          });
      admitted += upload.ok();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(admitted, 2);
}

}  // namespace
}  // namespace quant

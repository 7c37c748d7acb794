// Downloads and uploads through cuts, leftovers and damage.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <vector>

#include "client/library/download.h"
#include "client/library/upload.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "tests/client/library/server_test_base.h"

namespace quant {
namespace {

namespace fs = std::filesystem;

constexpr char kWeights[] = "model.safetensors";

class DownloadTest : public ServerTest {
 protected:
  void SetUp() override {
    StartServer();
    client_ = Connect();
    artifact_ = FinishedJob(*client_).artifacts(0);
  }

  void ExpectComplete(const DownloadReport& report, const fs::path& directory) {
    EXPECT_GT(report.artifact.files_size(), 3);
    int64_t files = 0;
    for (const auto& entry : fs::recursive_directory_iterator(directory)) {
      files += entry.is_regular_file() ? 1 : 0;
    }
    EXPECT_EQ(files, report.artifact.files_size()) << "no parts are left";
    for (const v1::ArtifactFile& file : report.artifact.files()) {
      EXPECT_EQ(Sha256OfFile(directory / file.path()).value_or(""),
                file.sha256())
          << file.path();
    }
  }

  std::unique_ptr<Client> client_;
  std::string artifact_;
};

TEST_F(DownloadTest, IsCompleteAndIsNotRepeated) {
  const auto first = Download(*client_, artifact_, Path("out"));
  ASSERT_TRUE(first.ok()) << first.status();
  ExpectComplete(*first, Path("out"));
  EXPECT_EQ(first->bytes_received, first->artifact.size_bytes());
  const auto second = Download(*client_, artifact_, Path("out"));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->bytes_received, 0);
  EXPECT_EQ(second->files_skipped, second->artifact.files_size());
}

TEST_F(DownloadTest, TakesUpACutConnectionWhereItWas) {
  proxy_->CutAfterFromServer(3 << 20);
  const auto report = Download(*client_, artifact_, Path("out"));
  ASSERT_TRUE(report.ok()) << report.status();
  ExpectComplete(*report, Path("out"));
  EXPECT_GT(report->streams, report->artifact.files_size());
  EXPECT_EQ(report->bytes_received, report->artifact.size_bytes())
      << "no byte came twice";
}

TEST_F(DownloadTest, TakesUpAnEarlierDownload) {
  ASSERT_TRUE(Download(*client_, artifact_, Path("out")).ok());
  const std::string whole = ReadAll(Path("out") / kWeights);
  WriteAll(Path("two") / (std::string(kWeights) + ".part"),
           whole.substr(0, whole.size() / 2));
  const auto report = Download(*client_, artifact_, Path("two"));
  ASSERT_TRUE(report.ok()) << report.status();
  ExpectComplete(*report, Path("two"));
  EXPECT_EQ(report->bytes_resumed, static_cast<int64_t>(whole.size() / 2));
  EXPECT_EQ(report->files_restarted, 0);
}

TEST_F(DownloadTest, ThrowsAwayADamagedPart) {
  ASSERT_TRUE(Download(*client_, artifact_, Path("out")).ok());
  std::string whole = ReadAll(Path("out") / kWeights);
  whole[1000] ^= 1;
  // As long as the whole file, and longer: neither may be taken for it.
  for (const std::string& part : {whole, whole + "x"}) {
    WriteAll(Path("two") / (std::string(kWeights) + ".part"), part);
    const auto report = Download(*client_, artifact_, Path("two"));
    ASSERT_TRUE(report.ok()) << report.status();
    ExpectComplete(*report, Path("two"));
    EXPECT_EQ(report->files_restarted, part == whole ? 1 : 0);
    fs::remove_all(Path("two"));
  }
}

TEST_F(DownloadTest, ReplacesNothingUnasked) {
  ASSERT_TRUE(Download(*client_, artifact_, Path("out")).ok());
  const std::string whole = ReadAll(Path("out") / kWeights);
  std::string other = whole;
  other[1000] ^= 1;
  TransferOptions overwrite;
  overwrite.overwrite = true;
  // Its own name with other bytes, a stranger, a stranger below, a link.
  const auto own = [&] { WriteAll(Path("out") / kWeights, other); };
  const auto stranger = [&] { WriteAll(Path("out/old.index.json"), "{}"); };
  const auto below = [&] { WriteAll(Path("out/onnx/model.onnx"), "x"); };
  const auto link = [&] {
    WriteAll(Path("mine"), whole);
    fs::remove(Path("out") / kWeights);
    fs::create_symlink(Path("mine"), Path("out") / kWeights);
  };
  const std::vector<std::function<void()>> cases = {own, stranger, below, link};
  for (const auto& put : cases) {
    put();
    const auto refused = Download(*client_, artifact_, Path("out"));
    EXPECT_EQ(GetReason(refused.status()), Reason::kOutputExists)
        << refused.status();
    const auto report = Download(*client_, artifact_, Path("out"), overwrite);
    ASSERT_TRUE(report.ok()) << report.status();
    ExpectComplete(*report, Path("out"));
  }
  EXPECT_EQ(ReadAll(Path("mine")), whole);
  EXPECT_FALSE(fs::is_symlink(Path("out") / kWeights));
}

TEST_F(DownloadTest, NeverNamesWhatTheServerDamaged) {
  for (const auto& entry : fs::recursive_directory_iterator(Path("data"))) {
    if (entry.path().filename() != kWeights) continue;
    std::string bytes = ReadAll(entry.path());
    bytes[bytes.size() / 2] ^= 1;
    fs::permissions(entry.path(), fs::perms::owner_write,
                    fs::perm_options::add);
    WriteAll(entry.path(), bytes);
  }
  const auto report = Download(*client_, artifact_, Path("out"));
  EXPECT_EQ(report.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(GetReason(report.status()), Reason::kDigestMismatch);
  EXPECT_FALSE(fs::exists(Path("out") / kWeights));
  EXPECT_FALSE(fs::exists(Path("out") / "manifest.json"));
}

TEST_F(DownloadTest, StopsWhenAsked) {
  std::stop_source stop;
  stop.request_stop();
  TransferOptions options;
  options.stop = stop.get_token();
  EXPECT_EQ(Download(*client_, artifact_, Path("out"), options).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_TRUE(Download(*client_, artifact_, Path("out")).ok());
}

class UploadTest : public ServerTest {};

TEST_F(UploadTest, SendsOnlyWhatTheServerLacks) {
  StartServer();
  const auto client = Connect();
  const auto first = Upload(*client, BundledModel());
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(first->upload.complete());
  EXPECT_EQ(first->files_sent, first->upload.files_size());
  const auto second = Upload(*client, BundledModel());
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->upload.name(), first->upload.name());
  EXPECT_EQ(second->bytes_sent, 0);

  v1::CreateJobRequest request = BundledJob();
  request.mutable_spec()->mutable_source()->set_upload(first->upload.name());
  EXPECT_TRUE(client->Submit(request).ok());
}

TEST_F(UploadTest, TakesUpACutConnectionWhereTheServerIs) {
  StartServer();
  const auto client = Connect();
  proxy_->CutAfterFromClient(5 << 20);
  const auto report = Upload(*client, BundledModel());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->upload.complete());
  EXPECT_GT(report->streams, report->files_sent);
  const auto size =
      static_cast<int64_t>(fs::file_size(fs::path(BundledModel()) / kWeights));
  EXPECT_LT(report->bytes_sent, 2 * size) << "it did not start over";
  EXPECT_GT(report->bytes_sent, size);
}

TEST_F(UploadTest, LeavesCodeAndStrangersAtHome) {
  const fs::path model = Path("model");
  for (const char* name :
       {"model.safetensors", "config.json", "LICENSE", "tokenizer.json",
        "train.py", "pytorch_model.bin", ".env", "notes.txt"}) {
    WriteAll(model / name, "x");
  }
  WriteAll(model / "sub" / "more.safetensors", "x");
  const auto files = ListModelFiles(model);
  ASSERT_TRUE(files.ok()) << files.status();
  std::vector<std::string> paths;
  for (const LocalFile& file : *files) paths.push_back(file.path);
  EXPECT_EQ(paths,
            (std::vector<std::string>{"LICENSE", "config.json",
                                      "model.safetensors", "tokenizer.json"}));
  EXPECT_EQ(GetReason(ListModelFiles(Path("nowhere")).status()),
            Reason::kSourceMissing);
  WriteAll(Path("empty") / "config.json", "{}");
  EXPECT_EQ(GetReason(ListModelFiles(Path("empty")).status()),
            Reason::kSourceMissing);
}

}  // namespace
}  // namespace quant

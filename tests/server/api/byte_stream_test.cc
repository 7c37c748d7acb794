#include <gmock/gmock.h>

#include <fstream>

#include "core/base/digest.h"
#include "tests/server/api/api_test_base.h"

namespace quant {
namespace {

using google::bytestream::QueryWriteStatusRequest;
using google::bytestream::QueryWriteStatusResponse;
using google::bytestream::ReadRequest;
using google::bytestream::ReadResponse;
using google::bytestream::WriteRequest;
using google::bytestream::WriteResponse;
using ::testing::AllOf;
using ::testing::HasSubstr;

struct Bytes {
  std::string data;
  int chunks = 0;
  grpc::Status status;
};

constexpr char kJob1[] = "01m8416xmn36h2xja8g43dzfb0";
constexpr char kJob2[] = "01m8416xmn36h2xja8g43dzfb1";

std::string Pattern(size_t size) {
  std::string out(size, '\0');
  for (size_t i = 0; i < size; ++i) {
    out[i] = static_cast<char>((i * 2654435761u) >> 13);
  }
  return out;
}

class ByteStreamTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    Start();
  }

  Bytes Read(const std::string& name, int64_t offset = 0, int64_t limit = 0) {
    ReadRequest request;
    request.set_resource_name(name);
    request.set_read_offset(offset);
    request.set_read_limit(limit);
    auto context = Context();
    auto reader = bytes_stub_->Read(context.get(), request);
    Bytes out;
    ReadResponse response;
    while (reader->Read(&response)) {
      out.data += response.data();
      ++out.chunks;
    }
    out.status = reader->Finish();
    return out;
  }

  v1::Upload CreateUpload(const std::vector<std::string>& contents) {
    v1::CreateUploadRequest request;
    for (size_t i = 0; i < contents.size(); ++i) {
      v1::UploadFile& file = *request.add_files();
      file.set_path("file" + std::to_string(i));
      file.set_size_bytes(static_cast<int64_t>(contents[i].size()));
      file.set_sha256(Sha256Hex(contents[i]));
    }
    v1::Upload upload;
    grpc::Status status =
        models_stub_->CreateUpload(Context().get(), request, &upload);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return upload;
  }

  struct Piece {
    int64_t offset;
    std::string data;
    bool finish = false;
  };
  grpc::Status Write(const std::string& name, const std::vector<Piece>& pieces,
                     int64_t* committed = nullptr) {
    WriteResponse response;
    auto context = Context();
    auto writer = bytes_stub_->Write(context.get(), &response);
    bool first = true;
    for (const Piece& piece : pieces) {
      WriteRequest request;
      if (first) request.set_resource_name(name);
      first = false;
      request.set_write_offset(piece.offset);
      request.set_data(piece.data);
      request.set_finish_write(piece.finish);
      if (!writer->Write(request)) break;
    }
    writer->WritesDone();
    grpc::Status status = writer->Finish();
    if (committed != nullptr) *committed = response.committed_size();
    return status;
  }

  QueryWriteStatusResponse Query(const std::string& name) {
    QueryWriteStatusRequest request;
    request.set_resource_name(name);
    QueryWriteStatusResponse response;
    grpc::Status status =
        bytes_stub_->QueryWriteStatus(Context().get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
};

TEST_F(ByteStreamTest, ReadsWholeAndInParts) {
  const std::string big = Pattern((3 << 20) + 17);
  const std::string id =
      Publish(kJob1, {{"dir/big.bin", big}, {"empty", ""}, {"a", "abc"}});
  const std::string name = "artifacts/" + id + "/files/dir/big.bin";
  Bytes whole = Read(name);
  EXPECT_TRUE(whole.status.ok()) << whole.status.error_message();
  EXPECT_EQ(whole.chunks, 4);
  EXPECT_TRUE(whole.data == big);
  Bytes part = Read(name, 1'000'000, 1'500'000);
  EXPECT_TRUE(part.status.ok());
  EXPECT_TRUE(part.data == big.substr(1'000'000, 1'500'000));
  Bytes tail = Read(name, static_cast<int64_t>(big.size()) - 5, 100);
  EXPECT_TRUE(tail.data == big.substr(big.size() - 5));
  Bytes at_end = Read(name, static_cast<int64_t>(big.size()));
  EXPECT_TRUE(at_end.status.ok());
  EXPECT_EQ(at_end.data, "");
  EXPECT_TRUE(Read("artifacts/" + id + "/files/empty").status.ok());

  ExpectError(Read(name, -1).status, grpc::OUT_OF_RANGE, "OFFSET_INVALID");
  ExpectError(Read(name, static_cast<int64_t>(big.size()) + 1).status,
              grpc::OUT_OF_RANGE, "OFFSET_INVALID");
  ExpectError(Read(name, 0, -1).status, grpc::OUT_OF_RANGE, "OFFSET_INVALID");
  for (const char* path : {"/files/none", "/files/../../queue.sqlite",
                           "/files/", "/files/dir", "/other/a"}) {
    EXPECT_EQ(Read("artifacts/" + id + path).status.error_code(),
              grpc::NOT_FOUND)
        << path;
  }
}

TEST_F(ByteStreamTest, ArtifactsAreListedReadAndDeleted) {
  const std::string first = Publish(kJob1, {{"a", "1"}});
  const std::string second = Publish(kJob2, {{"a", "22"}, {"b", "3"}});
  v1::ListArtifactsRequest request;
  request.set_page_size(1);
  v1::ListArtifactsResponse page;
  ASSERT_TRUE(
      artifacts_stub_->ListArtifacts(Context().get(), request, &page).ok());
  ASSERT_EQ(page.artifacts_size(), 1);
  EXPECT_EQ(page.artifacts(0).name(), "artifacts/" + second);
  EXPECT_EQ(page.artifacts(0).size_bytes(), 3);
  EXPECT_EQ(page.artifacts(0).files(1).resource_name(),
            "artifacts/" + second + "/files/b");
  request.set_page_token(page.next_page_token());
  ASSERT_TRUE(
      artifacts_stub_->ListArtifacts(Context().get(), request, &page).ok());
  ASSERT_EQ(page.artifacts_size(), 1);
  EXPECT_EQ(page.artifacts(0).name(), "artifacts/" + first);
  EXPECT_EQ(page.next_page_token(), "");

  v1::ListArtifactsRequest of_job;
  of_job.set_job(std::string("jobs/") + kJob1);
  ASSERT_TRUE(
      artifacts_stub_->ListArtifacts(Context().get(), of_job, &page).ok());
  ASSERT_EQ(page.artifacts_size(), 1);
  EXPECT_EQ(page.artifacts(0).job(), std::string("jobs/") + kJob1);

  v1::DeleteArtifactRequest del;
  del.set_name("artifacts/" + first);
  google::protobuf::Empty empty;
  ASSERT_TRUE(
      artifacts_stub_->DeleteArtifact(Context().get(), del, &empty).ok());
  ExpectError(artifacts_stub_->DeleteArtifact(Context().get(), del, &empty),
              grpc::NOT_FOUND, "ARTIFACT_NOT_FOUND");
}

TEST_F(ByteStreamTest, DamagedBytesAreNeverServedAsGood) {
  const std::string big = Pattern(2 << 20);
  const std::string id = Publish(kJob1, {{"w.bin", big}});
  // What was read and found good before is not believed once it was touched.
  ASSERT_EQ(Read("artifacts/" + id + "/files/w.bin").data, big);
  ASSERT_EQ(Read("artifacts/" + id + "/files/w.bin").data, big);
  // One bit, in the file that the store keeps.
  bool damaged = false;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(temp_)) {
    if (entry.path().filename() != "w.bin") continue;
    std::filesystem::permissions(entry.path(),
                                 std::filesystem::perms::owner_all);
    std::fstream file(entry.path(),
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(1'234'567);
    file.put(static_cast<char>(big[1'234'567] ^ 1));
    damaged = true;
  }
  ASSERT_TRUE(damaged);
  Bytes read = Read("artifacts/" + id + "/files/w.bin");
  ExpectError(read.status, grpc::DATA_LOSS, "DIGEST_MISMATCH");
  EXPECT_LT(read.data.size(), big.size());
}

TEST_F(ByteStreamTest, UploadsAndBecomesASource) {
  namespace fs = std::filesystem;
  const fs::path model =
      fs::path(QUANT_SOURCE_DIR) / "examples/tiny-own-pad768-bf16";
  v1::CreateUploadRequest request;
  std::map<std::string, std::string> contents;
  for (const auto& entry : fs::directory_iterator(model)) {
    std::ifstream in(entry.path(), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(in)), {});
    v1::UploadFile& file = *request.add_files();
    file.set_path(entry.path().filename().string());
    file.set_size_bytes(static_cast<int64_t>(bytes.size()));
    file.set_sha256(Sha256Hex(bytes));
    contents[file.sha256()] = std::move(bytes);
  }
  v1::Upload upload;
  ASSERT_TRUE(
      models_stub_->CreateUpload(Context().get(), request, &upload).ok());
  EXPECT_FALSE(upload.complete());
  v1::CreateJobRequest create = GoodRequest();
  create.mutable_spec()->mutable_source()->set_upload(upload.name());
  v1::Job job;
  ExpectError(jobs_stub_->CreateJob(Context().get(), create, &job),
              grpc::FAILED_PRECONDITION, "SOURCE_MISSING");
  for (const v1::UploadFile& file : upload.missing()) {
    const std::string& bytes = contents[file.sha256()];
    const size_t half = std::min<size_t>(bytes.size() / 2, 1 << 20);
    std::vector<Piece> pieces = {{0, bytes.substr(0, half)}};
    for (size_t at = half; at < bytes.size(); at += 1 << 20) {
      pieces.push_back({static_cast<int64_t>(at), bytes.substr(at, 1 << 20)});
    }
    pieces.back().finish = true;
    int64_t committed = 0;
    grpc::Status status = Write(file.resource_name(), pieces, &committed);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(committed, file.size_bytes());
  }
  v1::GetUploadRequest get;
  get.set_name(upload.name());
  ASSERT_TRUE(models_stub_->GetUpload(Context().get(), get, &upload).ok());
  EXPECT_TRUE(upload.complete());
  EXPECT_EQ(upload.missing_size(), 0);
  EXPECT_THAT(CreateJob(create).name(), testing::StartsWith("jobs/"));
  v1::InspectModelRequest inspect;
  inspect.mutable_source()->set_upload(upload.name());
  v1::ModelInfo info;
  ASSERT_TRUE(models_stub_->InspectModel(Context().get(), inspect, &info).ok());
  EXPECT_EQ(info.architecture(), "LlamaForCausalLM");
}

TEST_F(ByteStreamTest, WritesResumeAtTheCommittedSize) {
  const std::string bytes = Pattern(300'000);
  const v1::Upload upload = CreateUpload({bytes});
  const std::string name = upload.missing(0).resource_name();
  EXPECT_EQ(Query(name).committed_size(), 0);
  int64_t committed = 0;
  ASSERT_TRUE(Write(name, {{0, bytes.substr(0, 100'000)}}, &committed).ok());
  EXPECT_EQ(committed, 100'000);
  EXPECT_EQ(Query(name).committed_size(), 100'000);
  EXPECT_FALSE(Query(name).complete());
  // A gap and an overlap are refused and cost nothing.
  ExpectError(Write(name, {{100'001, "x"}}), grpc::INVALID_ARGUMENT,
              "OFFSET_INVALID");
  ExpectError(Write(name, {{0, "x"}}), grpc::INVALID_ARGUMENT,
              "OFFSET_INVALID");
  EXPECT_EQ(Query(name).committed_size(), 100'000);
  ASSERT_TRUE(
      Write(name, {{100'000, bytes.substr(100'000), true}}, &committed).ok());
  EXPECT_EQ(committed, 300'000);
  EXPECT_TRUE(Query(name).complete());
  // What is complete answers its size at once.
  ASSERT_TRUE(Write(name, {{0, "anything"}}, &committed).ok());
  EXPECT_EQ(committed, 300'000);
  // Another upload with the same content lacks nothing.
  EXPECT_TRUE(CreateUpload({bytes}).complete());
}

TEST_F(ByteStreamTest, WrongWritesAreRefused) {
  const std::string bytes = Pattern(1000);
  const std::string name = CreateUpload({bytes}).missing(0).resource_name();
  ExpectError(Write(name, {{0, std::string(1001, 'x')}}),
              grpc::INVALID_ARGUMENT, "OFFSET_INVALID");
  ExpectError(Write(name, {{0, std::string(1000, 'x'), true}}),
              grpc::INVALID_ARGUMENT, "DIGEST_MISMATCH");
  EXPECT_EQ(Query(name).committed_size(), 0);
  ExpectError(Write(name, {{0, bytes, true}, {1000, "", false}}),
              grpc::INVALID_ARGUMENT, "INVALID_SPEC");
  EXPECT_FALSE(Query(name).complete());
  ExpectError(Write(name, {}), grpc::INVALID_ARGUMENT, "INVALID_SPEC");
}

TEST_F(ByteStreamTest, OneWriterAtATime) {
  const std::string bytes = Pattern(1000);
  const std::string name = CreateUpload({bytes}).missing(0).resource_name();
  WriteResponse response;
  auto context = Context();
  auto holder = bytes_stub_->Write(context.get(), &response);
  WriteRequest request;
  request.set_resource_name(name);
  request.set_data(bytes.substr(0, 10));
  ASSERT_TRUE(holder->Write(request));
  while (Query(name).committed_size() != 10) {
  }
  ExpectError(Write(name, {{10, "x"}}), grpc::ABORTED, "BLOB_BUSY");
  holder->WritesDone();
  EXPECT_TRUE(holder->Finish().ok());
}

TEST_F(ByteStreamTest, BytesServedAndReceivedAreCounted) {
  const std::string id = Publish(kJob1, {{"a", Pattern((1 << 20) + 17)}});
  Read("artifacts/" + id + "/files/a");
  Read("artifacts/" + id + "/files/a", 17, 100);
  const v1::Upload upload = CreateUpload({"abcdef"});
  const std::string& name = upload.missing(0).resource_name();
  ASSERT_TRUE(Write(name, {{0, "abc"}}).ok());
  ASSERT_TRUE(Write(name, {{3, "def", true}}).ok());
  EXPECT_THAT(metrics_.Render(),
              AllOf(HasSubstr("\nquant_storage_read_bytes_total 1048693\n"),
                    HasSubstr("\nquant_storage_written_bytes_total 6\n")));
}

TEST_F(ByteStreamTest, UploadDeclarationsAreIdempotent) {
  const v1::Upload first = CreateUpload({"abc", "def"});
  EXPECT_EQ(first.missing_size(), 2);
  EXPECT_EQ(CreateUpload({"abc", "def"}).name(), first.name());
  EXPECT_NE(CreateUpload({"abc"}).name(), first.name());
}

}  // namespace
}  // namespace quant

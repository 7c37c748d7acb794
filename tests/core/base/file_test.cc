#include "core/base/file.h"

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/base/temp_dir.h"

namespace quant {
namespace {

using ::testing::ElementsAre;

absl::Span<const uint8_t> AsBytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST(FileTest, WritesAndReadsAtOffsets) {
  TempDir dir;
  const auto file = File::OpenWrite(dir.File("x"));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->WriteAt(4, AsBytes("abc")).ok());
  std::vector<uint8_t> out(3);
  ASSERT_TRUE(file->ReadAt(3, absl::MakeSpan(out)).ok());
  EXPECT_THAT(out, ElementsAre(0, 'a', 'b'));
  EXPECT_EQ(*file->Size(), 7);
}

TEST(FileTest, AReadBeyondTheEndIsAnError) {
  TempDir dir;
  const auto file = File::OpenRead(dir.Write("x", "abc"));
  ASSERT_TRUE(file.ok());
  std::vector<uint8_t> out(2);
  const absl::Status status = file->ReadAt(2, absl::MakeSpan(out));
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(file->ReadAt(3, {}).ok());
}

TEST(FileTest, OpensRegularFilesOnly) {
  TempDir dir;
  EXPECT_EQ(File::OpenRead(dir.File("none")).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_FALSE(File::OpenRead(dir.path()).ok());
}

TEST(FileTest, AppendsAndTruncates) {
  TempDir dir;
  const std::string path = dir.Write("x", "abc");
  {
    const auto file = File::OpenAppend(path);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->Append("def").ok());
    ASSERT_TRUE(file->Truncate(5).ok());
    ASSERT_TRUE(file->Append("!").ok());
  }
  EXPECT_EQ(*ReadFile(path, 100), "abcde!");
}

TEST(FileTest, AllocatesExactly) {
  TempDir dir;
  const auto file = File::OpenWrite(dir.Write("x", std::string(5000, 'x')));
  ASSERT_TRUE(file.ok());
  for (int64_t size : {12'345, 100, 0}) {
    ASSERT_TRUE(file->Allocate(size).ok());
    EXPECT_EQ(*file->Size(), size);
  }
}

TEST(FileTest, MovesOwnership) {
  TempDir dir;
  auto file = File::OpenRead(dir.Write("x", "abc"));
  ASSERT_TRUE(file.ok());
  const File moved = std::move(*file);
  std::vector<uint8_t> out(3);
  EXPECT_TRUE(moved.ReadAt(0, absl::MakeSpan(out)).ok());
}

TEST(FileTest, IdentityTellsVersionsApart) {
  TempDir dir;
  const std::string path = dir.Write("x", "abc");
  const auto before = IdentityOf(path);
  ASSERT_TRUE(before.ok());
  EXPECT_EQ(*File::OpenRead(path)->Identity(), *before);
  dir.Write("x", "abcd");
  EXPECT_NE(*IdentityOf(path), *before);
}

TEST(FileLockTest, IsExclusiveUntilItDies) {
  TempDir dir;
  {
    const auto first = FileLock::Acquire(dir.File("lock"));
    ASSERT_TRUE(first.ok());
    const auto second = FileLock::Acquire(dir.File("lock"));
    EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(GetReason(second.status()), Reason::kWorkDirLocked);
  }
  EXPECT_TRUE(FileLock::Acquire(dir.File("lock")).ok());
}

TEST(ReadFileTest, StopsAtItsLimit) {
  TempDir dir;
  const std::string path = dir.Write("x", "abc");
  EXPECT_EQ(*ReadFile(path, 3), "abc");
  EXPECT_EQ(ReadFile(path, 2).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(WriteFileAtomicallyTest, ReplacesWholeAndLeavesNoTraces) {
  TempDir dir;
  for (const bool sync : {false, true}) {
    ASSERT_TRUE(WriteFileAtomically(dir.File("x"), "long text", sync).ok());
    ASSERT_TRUE(WriteFileAtomically(dir.File("x"), "new", sync).ok());
    EXPECT_EQ(*ReadFile(dir.File("x"), 100), "new");
  }
  EXPECT_FALSE(WriteFileAtomically(dir.File("no/x"), "y", false).ok());
  EXPECT_EQ(ListDirectory(dir.path())->size(), 1u);
}

TEST(FileTest, CreateNewNeverFollowsALink) {
  TempDir dir;
  ASSERT_TRUE(WriteFileAtomically(dir.File("victim"), "kept", false).ok());
  ASSERT_EQ(::symlink(dir.File("victim").c_str(), dir.File("new").c_str()), 0);
  const auto file = File::CreateNew(dir.File("new"));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE(file->Append("ours").ok());
  EXPECT_EQ(*ReadFile(dir.File("victim"), 10), "kept");
  EXPECT_EQ(*ReadFile(dir.File("new"), 10), "ours");
}

TEST(WriteFileAtomicallyTest, ReadersSeeOneVersionOrTheOther) {
  TempDir dir;
  const std::string path = dir.Write("x", std::string(100'000, 'a'));
  std::jthread writer([&](std::stop_token stop) {
    for (int i = 0; !stop.stop_requested(); ++i) {
      ASSERT_TRUE(
          WriteFileAtomically(path, std::string(100'000, 'a' + i % 2), false)
              .ok());
    }
  });
  for (int i = 0; i < 200; ++i) {
    const auto text = ReadFile(path, 1 << 20);
    ASSERT_TRUE(text.ok());
    ASSERT_EQ(*text, std::string(100'000, (*text)[0]));
  }
}

TEST(ListDirectoryTest, SortsAndFollowsLinks) {
  TempDir dir;
  dir.Write("b", "12345");
  dir.Write("a/inside", "");
  std::filesystem::create_symlink("b", dir.File("link"));
  std::filesystem::create_symlink("nowhere", dir.File("dangling"));
  const auto entries = ListDirectory(dir.path());
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 4u);
  EXPECT_EQ((*entries)[0].name, "a");
  EXPECT_TRUE((*entries)[0].is_directory);
  EXPECT_EQ((*entries)[1].size_bytes, 5);
  EXPECT_FALSE((*entries)[2].is_regular || (*entries)[2].is_directory);
  EXPECT_TRUE((*entries)[3].is_regular);
  EXPECT_FALSE(ListDirectory(dir.File("none")).ok());
}

TEST(RemoveTreeTest, RemovesTheLinkAndNotItsTarget) {
  TempDir dir;
  dir.Write("keep/file", "x");
  dir.Write("tree/deep/file", "y");
  std::filesystem::create_symlink(dir.File("keep"), dir.File("tree/link"));
  ASSERT_TRUE(RemoveTree(dir.File("tree")).ok());
  EXPECT_FALSE(PathExists(dir.File("tree")));
  EXPECT_TRUE(PathExists(dir.File("keep/file")));
  EXPECT_TRUE(RemoveTree(dir.File("tree")).ok());
}

TEST(PathTest, JoinsAndSplits) {
  EXPECT_EQ(JoinPath("", "x"), "x");
  EXPECT_EQ(JoinPath("a", "x"), "a/x");
  EXPECT_EQ(JoinPath("a/", "x"), "a/x");
  EXPECT_EQ(ParentPath("a/b"), "a");
  EXPECT_EQ(ParentPath("a/b//"), "a");
  EXPECT_EQ(ParentPath("a"), ".");
  EXPECT_EQ(ParentPath("/a"), "/");
  EXPECT_EQ(ParentPath("/"), "/");
}

TEST(PathTest, KnowsPlainNamesAndRelativePaths) {
  for (const char* name : {"x", "...", "a b", ".hidden", "\xC3\xA9"}) {
    EXPECT_TRUE(IsPlainFileName(name)) << name;
    EXPECT_TRUE(IsRelativePath(name)) << name;
  }
  for (const absl::string_view name :
       {absl::string_view(""), absl::string_view("."), absl::string_view(".."),
        absl::string_view("a/b"), absl::string_view("/"),
        absl::string_view("a\0b", 3)}) {
    EXPECT_FALSE(IsPlainFileName(name)) << name;
  }
  EXPECT_TRUE(IsRelativePath("a/b.c/d"));
  for (const char* path : {"", "/a", "a/", "a//b", "a/../b", "./a", ".."}) {
    EXPECT_FALSE(IsRelativePath(path)) << path;
  }
  EXPECT_FALSE(IsRelativePath(std::string(513, 'x')));
}

TEST(PathTest, ResolvesLinks) {
  TempDir dir;
  dir.Write("a/x", "");
  std::filesystem::create_symlink("a", dir.File("link"));
  EXPECT_EQ(*ResolvePath(dir.File("link/../link/x")), dir.File("a/x"));
  EXPECT_EQ(ResolvePath(dir.File("none")).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(PathTest, MakesRenamesAndMeasures) {
  TempDir dir;
  ASSERT_TRUE(MakeDirectories(dir.File("a/b/c")).ok());
  EXPECT_TRUE(MakeDirectories(dir.File("a/b/c")).ok());
  EXPECT_TRUE(IsDirectory(dir.File("a/b/c")));
  ASSERT_TRUE(Rename(dir.File("a"), dir.File("z")).ok());
  EXPECT_TRUE(IsDirectory(dir.File("z/b/c")));
  EXPECT_FALSE(Rename(dir.File("a"), dir.File("y")).ok());
  EXPECT_TRUE(SyncDirectory(dir.path()).ok());
  EXPECT_GT(*FreeDiskBytes(dir.path()), 0);
  EXPECT_FALSE(FreeDiskBytes(dir.File("none")).ok());
}

}  // namespace
}  // namespace quant

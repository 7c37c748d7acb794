#include "server/planner/source_resolver.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/base/error.h"

namespace quant {
namespace {

namespace fs = std::filesystem;

// <temp>/root/model/{model.safetensors,config.json}, <temp>/outside/secret
class SourceResolverTest : public testing::Test {
 protected:
  void SetUp() override {
    temp_ = fs::path(testing::TempDir()) /
            ("resolver_" + std::to_string(getpid()) + "_" +
             testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(temp_);
    fs::create_directories(temp_ / "root/model");
    fs::create_directories(temp_ / "outside");
    Write(temp_ / "root/model/model.safetensors");
    Write(temp_ / "root/model/config.json");
    Write(temp_ / "outside/secret.safetensors");
    temp_ = fs::canonical(temp_);
    root_ = (temp_ / "root").string();
  }
  void TearDown() override { fs::remove_all(temp_); }

  static void Write(const fs::path& path) { std::ofstream(path) << "{}"; }

  absl::StatusOr<std::string> Resolve(const std::string& path) {
    auto resolver = SourceResolver::Create({root_});
    EXPECT_TRUE(resolver.ok()) << resolver.status();
    return resolver->Resolve(path);
  }

  void ExpectNotAllowed(const std::string& path) {
    auto resolved = Resolve(path);
    ASSERT_FALSE(resolved.ok()) << path << " -> " << *resolved;
    EXPECT_EQ(resolved.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(GetReason(resolved.status()), Reason::kSourceNotAllowed) << path;
    EXPECT_EQ(GetField(resolved.status()), "source.server_path");
  }

  void ExpectMissing(const std::string& path) {
    auto resolved = Resolve(path);
    ASSERT_FALSE(resolved.ok()) << path;
    EXPECT_EQ(resolved.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(GetReason(resolved.status()), Reason::kSourceMissing) << path;
  }

  fs::path temp_;
  std::string root_;
};

TEST_F(SourceResolverTest, AcceptsWhatLiesInside) {
  const std::string model = root_ + "/model";
  EXPECT_EQ(*Resolve("model"), model);
  EXPECT_EQ(*Resolve("./model/"), model);
  EXPECT_EQ(*Resolve("model/../model"), model);
  EXPECT_EQ(*Resolve(model), model);
  EXPECT_EQ(*Resolve("model/model.safetensors"), model + "/model.safetensors");
  EXPECT_EQ(*Resolve(root_), root_);
  EXPECT_EQ(*Resolve("."), root_);
}

TEST_F(SourceResolverTest, RefusesWaysOut) {
  ExpectNotAllowed("..");
  ExpectNotAllowed("../outside");
  ExpectNotAllowed("model/../../outside/secret.safetensors");
  ExpectNotAllowed((temp_ / "outside").string());
  ExpectNotAllowed("/");
  ExpectNotAllowed("/etc/passwd");
  // A sibling that only begins like the root.
  fs::create_directories(root_ + "-evil");
  ExpectNotAllowed(root_ + "-evil");
}

TEST_F(SourceResolverTest, DoesNotTellWhatExistsOutside) {
  ExpectNotAllowed("/no/such/place");
  ExpectNotAllowed("../no-such-place");
  ExpectNotAllowed(root_ + "/../no-such-place");
}

TEST_F(SourceResolverTest, MissingInsideIsMissing) {
  ExpectMissing("absent");
  ExpectMissing(root_ + "/absent");
  ExpectMissing("model/model.safetensors/below-a-file");
}

TEST_F(SourceResolverTest, RefusesSpellings) {
  for (const std::string& path :
       {std::string(), std::string("model\0/x", 8), std::string(5000, 'a')}) {
    auto resolved = Resolve(path);
    EXPECT_EQ(resolved.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(SourceResolverTest, FollowsLinksWithinTheRootOnly) {
  fs::create_directories(root_ + "/blobs");
  Write(root_ + "/blobs/1");
  fs::create_directories(root_ + "/snapshot");
  fs::create_symlink("../blobs/1", root_ + "/snapshot/model.safetensors");
  fs::create_directory_symlink(root_ + "/model", root_ + "/alias");
  fs::create_directory_symlink(temp_ / "outside", root_ + "/escape");
  EXPECT_EQ(*Resolve("alias"), root_ + "/model");
  EXPECT_EQ(*Resolve("snapshot/model.safetensors"), root_ + "/blobs/1");
  ExpectNotAllowed("escape");
  ExpectNotAllowed("escape/secret.safetensors");
}

TEST_F(SourceResolverTest, RootMayItselfBeALink) {
  fs::create_directory_symlink(root_, temp_ / "root-link");
  auto resolver = SourceResolver::Create({(temp_ / "root-link").string()});
  ASSERT_TRUE(resolver.ok());
  EXPECT_EQ(*resolver->Resolve((temp_ / "root-link/model").string()),
            root_ + "/model");
  EXPECT_EQ(*resolver->Resolve(root_ + "/model"), root_ + "/model");
  EXPECT_EQ(
      GetReason(
          resolver->Resolve((temp_ / "root-link/none").string()).status()),
      Reason::kSourceMissing);
}

TEST_F(SourceResolverTest, ShardsMayNotBeLinksOut) {
  auto resolver = SourceResolver::Create({root_});
  ASSERT_TRUE(resolver.ok());
  EXPECT_TRUE(resolver->CheckLinks(root_ + "/model").ok());
  fs::create_symlink(temp_ / "outside/secret.safetensors",
                     root_ + "/model/model-2.safetensors");
  absl::Status status = resolver->CheckLinks(root_ + "/model");
  EXPECT_EQ(GetReason(status), Reason::kSourceNotAllowed);
}

TEST_F(SourceResolverTest, RelativePathsAreTriedInEveryRoot) {
  fs::create_directories(temp_ / "second/only-here");
  auto resolver = SourceResolver::Create({root_, (temp_ / "second").string()});
  ASSERT_TRUE(resolver.ok());
  EXPECT_EQ(*resolver->Resolve("only-here"),
            (temp_ / "second/only-here").string());
  EXPECT_EQ(*resolver->Resolve("model"), root_ + "/model");
  EXPECT_EQ(GetReason(resolver->Resolve("nowhere").status()),
            Reason::kSourceMissing);
}

TEST_F(SourceResolverTest, WithoutRootsNothingIsAllowed) {
  auto resolver = SourceResolver::Create({});
  ASSERT_TRUE(resolver.ok());
  for (const char* path : {"model", "/", "."}) {
    EXPECT_EQ(GetReason(resolver->Resolve(path).status()),
              Reason::kSourceNotAllowed);
  }
}

TEST_F(SourceResolverTest, RootsMustBeDirectories) {
  EXPECT_FALSE(SourceResolver::Create({root_ + "/absent"}).ok());
  EXPECT_FALSE(SourceResolver::Create({root_ + "/model/config.json"}).ok());
}

TEST_F(SourceResolverTest, IdentityTellsStatesApart) {
  const std::string model = root_ + "/model";
  const std::string before = *SourceIdentity(model);
  EXPECT_EQ(*SourceIdentity(model), before);
  std::ofstream(model + "/config.json") << "{\"longer\": true}";
  const std::string edited = *SourceIdentity(model);
  EXPECT_NE(edited, before);
  Write(model + "/tokenizer.json");
  EXPECT_NE(*SourceIdentity(model), edited);
  EXPECT_NE(*SourceIdentity(model + "/config.json"), edited);
}

}  // namespace
}  // namespace quant

#include "server/planner/planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "core/base/error.h"

namespace quant {
namespace {

namespace fs = std::filesystem;

class PlannerTest : public testing::Test {
 protected:
  void SetUp() override {
    temp_ = fs::path(testing::TempDir()) /
            ("planner_" + std::to_string(getpid()) + "_" +
             testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(temp_);
    fs::create_directories(temp_);
    fs::copy(fs::path(QUANT_SOURCE_DIR) / "examples/tiny-own-pad768-bf16",
             temp_ / "model");
    PlannerOptions options;
    options.model_roots = {temp_.string()};
    options.upload_directory =
        [this](const std::string& id) -> absl::StatusOr<std::string> {
      if (id == "known") return (temp_ / "model").string();
      return MakeError(absl::StatusCode::kNotFound, Reason::kUploadNotFound,
                       "no such upload");
    };
    planner_ = *Planner::Create(options);
  }
  void TearDown() override { fs::remove_all(temp_); }

  static v1::JobSpec Spec(const std::string& scheme = "W4A16") {
    v1::JobSpec spec;
    spec.mutable_source()->set_server_path("model");
    spec.add_outputs()->mutable_recipe()->set_scheme(scheme);
    return spec;
  }

  fs::path temp_;
  std::unique_ptr<Planner> planner_;
};

TEST_F(PlannerTest, PlansAndRemembers) {
  EXPECT_EQ(planner_->Cached(Spec()), nullptr);
  auto planned = planner_->Plan(Spec());
  ASSERT_TRUE(planned.ok()) << planned.status();
  EXPECT_EQ((*planned)->source_path, fs::canonical(temp_ / "model").string());
  EXPECT_GT((*planned)->plan.outputs(0).total_bytes(), 0);
  EXPECT_EQ((*planned)->canonical.outputs(0).recipe().method(), "rtn");
  EXPECT_EQ(planner_->Cached(Spec()), *planned);
  EXPECT_EQ(*planner_->Plan(Spec()), *planned);
  EXPECT_EQ(planner_->Cached(Spec("W8A16")), nullptr);
}

TEST_F(PlannerTest, EqualRequestsHaveEqualCanonicalBytes) {
  v1::JobSpec spelled = Spec();
  spelled.mutable_outputs(0)->set_name("W4A16");
  spelled.mutable_outputs(0)->mutable_recipe()->set_method("rtn");
  spelled.mutable_outputs(0)->mutable_recipe()->set_format(
      "compressed-tensors");
  auto one = planner_->Plan(Spec()), two = planner_->Plan(spelled);
  ASSERT_TRUE(one.ok() && two.ok()) << one.status() << two.status();
  EXPECT_EQ((*one)->canonical_bytes, (*two)->canonical_bytes);
  EXPECT_NE((*one)->canonical_bytes,
            (*planner_->Plan(Spec("W8A16")))->canonical_bytes);
}

TEST_F(PlannerTest, ForgetsWhenTheSourceChanges) {
  ASSERT_TRUE(planner_->Plan(Spec()).ok());
  fs::last_write_time(temp_ / "model/config.json",
                      fs::file_time_type::clock::now());
  EXPECT_EQ(planner_->Cached(Spec()), nullptr);
  ASSERT_TRUE(planner_->Plan(Spec()).ok());
  EXPECT_NE(planner_->Cached(Spec()), nullptr);
  fs::remove_all(temp_ / "model");
  EXPECT_EQ(planner_->Cached(Spec()), nullptr);
  EXPECT_EQ(GetReason(planner_->Plan(Spec()).status()), Reason::kSourceMissing);
}

TEST_F(PlannerTest, UploadsAreSources) {
  v1::JobSpec spec = Spec();
  spec.mutable_source()->set_upload("uploads/known");
  EXPECT_TRUE(planner_->Plan(spec).ok());
  spec.mutable_source()->set_upload("uploads/other");
  absl::Status status = planner_->Plan(spec).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetReason(status), Reason::kSourceMissing);
  EXPECT_EQ(GetField(status), "source.upload");
  spec.mutable_source()->set_upload("known");
  EXPECT_EQ(GetReason(planner_->Plan(spec).status()), Reason::kInvalidSpec);
}

TEST_F(PlannerTest, ADirectoryWithoutAModelIsASourceThatIsMissing) {
  fs::create_directories(temp_ / "empty");
  v1::JobSpec spec = Spec();
  spec.mutable_source()->set_server_path("empty");
  absl::Status status = planner_->Plan(spec).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_EQ(GetReason(status), Reason::kSourceMissing);
}

TEST_F(PlannerTest, LinkedWeightsOutsideAreNotOpened) {
  fs::remove(temp_ / "model/model.safetensors");
  fs::create_symlink("/etc/hostname", temp_ / "model/model.safetensors");
  EXPECT_EQ(GetReason(planner_->Plan(Spec()).status()),
            Reason::kSourceNotAllowed);
}

TEST_F(PlannerTest, InspectsModels) {
  v1::InspectModelRequest request;
  request.mutable_source()->set_server_path("model");
  request.set_dtypes(true);
  auto info = planner_->InspectModel(request);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->architecture(), "LlamaForCausalLM");
  EXPECT_GT(info->parameters(), 1'000'000);
  EXPECT_GT(info->dtypes_size(), 3);
}

TEST_F(PlannerTest, BoundsInlineTensors) {
  v1::QuantizeTensorRequest request;
  request.mutable_recipe()->set_scheme("W8A16");
  for (int i = 0; i <= 1 << 20; ++i) request.add_values(0);
  absl::Status status = planner_->QuantizeTensor(request).status();
  EXPECT_EQ(GetReason(status), Reason::kInvalidSpec);
  EXPECT_EQ(GetField(status), "values");
}

TEST(PlanCacheTest, EvictsByCountAndByBytes) {
  PlanCache cache(2, 1 << 20);
  auto value = std::make_shared<PlannedSpec>();
  cache.Put("a", value);
  cache.Put("b", value);
  EXPECT_NE(cache.Get("a"), nullptr);
  cache.Put("c", value);
  EXPECT_EQ(cache.Get("b"), nullptr);  // "a" was used since
  EXPECT_NE(cache.Get("a"), nullptr);
  auto large = std::make_shared<PlannedSpec>();
  large->plan.set_fingerprint(std::string(2 << 20, 'x'));
  cache.Put("d", large);
  EXPECT_EQ(cache.Get("d"), nullptr);
}

}  // namespace
}  // namespace quant

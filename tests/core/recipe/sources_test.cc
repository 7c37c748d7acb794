#include "core/recipe/sources.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quant/v1/job_service.pb.h"

namespace quant {
namespace {

TEST(SourcesTest, FindsThemWhereverTheyAre) {
  v1::CreateJobRequest request;
  EXPECT_TRUE(SourcesIn(request).empty());
  v1::JobSpec& spec = *request.mutable_spec();
  spec.add_outputs()->mutable_recipe()->set_scheme("W4A16");
  spec.mutable_source()->set_server_path("model");
  spec.mutable_imatrix()->set_upload("uploads/i");
  spec.mutable_calibration()->mutable_source()->set_upload("uploads/c");
  spec.mutable_evaluation()->mutable_source()->set_upload("uploads/e");
  std::vector<std::string> uploads;
  for (const v1::Source* source : SourcesIn(request)) {
    uploads.push_back(source->upload());
  }
  EXPECT_THAT(uploads, testing::UnorderedElementsAre("", "uploads/i",
                                                     "uploads/c", "uploads/e"));
  EXPECT_EQ(SourcesIn(spec.source()).size(), 1u) << "itself";
}

}  // namespace
}  // namespace quant

#include "core/recipe/schedule.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/recipe/recipe.h"

namespace quant {
namespace {

v1::JobSpec Spec() {
  v1::JobSpec spec;
  spec.add_outputs()->mutable_recipe()->set_scheme("W4A16");
  return spec;
}

TEST(ScheduleTest, TimeoutsFromASecondToThirtyDays) {
  struct Row {
    int64_t seconds;
    int32_t nanos;
    bool good;
  };
  constexpr int64_t kMost = 30 * 24 * 3600;
  for (const Row& row :
       {Row{1, 0, true}, Row{1, 999'999'999, true}, Row{kMost, 0, true},
        Row{0, 0, false}, Row{0, 999'999'999, false}, Row{-1, 0, false},
        Row{-1, -1, false}, Row{1, -1, false}, Row{1, 1'000'000'000, false},
        Row{kMost, 1, false}, Row{1'000'000'000, 0, false},
        Row{INT64_MAX, 0, false}, Row{INT64_MIN, 0, false}}) {
    v1::JobSpec spec = Spec();
    spec.mutable_timeout()->set_seconds(row.seconds);
    spec.mutable_timeout()->set_nanos(row.nanos);
    const absl::Status status = CanonicalSpec(spec).status();
    EXPECT_EQ(status.ok(), row.good) << row.seconds << " " << row.nanos;
    if (!row.good) {
      EXPECT_EQ(GetReason(status), Reason::kInvalidSpec);
      EXPECT_EQ(GetField(status), "timeout");
    }
  }
}

TEST(ScheduleTest, TheDefaultPriorityIsNormalAndLeftOut) {
  v1::JobSpec spec = Spec();
  EXPECT_EQ(PriorityOf(spec), v1::JobSpec::NORMAL);
  const std::string unset = CanonicalSpec(spec)->SerializeAsString();
  spec.set_priority(v1::JobSpec::NORMAL);
  EXPECT_EQ(CanonicalSpec(spec)->SerializeAsString(), unset);
  spec.set_priority(v1::JobSpec::URGENT);
  EXPECT_EQ(PriorityOf(*CanonicalSpec(spec)), v1::JobSpec::URGENT);
  spec.set_priority(static_cast<v1::JobSpec::Priority>(5));
  EXPECT_EQ(GetField(CanonicalSpec(spec).status()), "priority");
}

TEST(ScheduleTest, Micros) {
  google::protobuf::Duration duration;
  duration.set_seconds(90);
  duration.set_nanos(1'999);
  EXPECT_EQ(ToMicros(duration), 90'000'001);
}

}  // namespace
}  // namespace quant

// What a spec says of when and how long, besides what is to be done.
#ifndef QUANT_CORE_RECIPE_SCHEDULE_H_
#define QUANT_CORE_RECIPE_SCHEDULE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "quant/v1/job.pb.h"

namespace quant {

// INVALID_ARGUMENT INVALID_SPEC with the field.
absl::Status CheckSchedule(const v1::JobSpec& spec);

// With the default in the place of PRIORITY_UNSPECIFIED.
v1::JobSpec::Priority PriorityOf(const v1::JobSpec& spec);

// Of a checked duration.
int64_t ToMicros(const google::protobuf::Duration& duration);

}  // namespace quant

#endif  // QUANT_CORE_RECIPE_SCHEDULE_H_

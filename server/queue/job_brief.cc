#include "server/queue/job_brief.h"

namespace quant {

JobBrief BriefOf(const JobRecord& record) {
  return {.id = record.id,
          .state = record.state,
          .run_after = record.run_after,
          .create_time = record.create_time,
          .lease_owner = record.lease_owner,
          .lease_token = record.lease_token,
          .lease_until = record.lease_until,
          .progress = record.progress,
          .owner = record.owner,
          .priority = record.priority,
          .requeue_time = record.requeue_time,
          .start_time = record.start_time};
}

}  // namespace quant

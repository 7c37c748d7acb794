// The part of a job's record that the queue keeps in memory.
#ifndef QUANT_SERVER_QUEUE_JOB_BRIEF_H_
#define QUANT_SERVER_QUEUE_JOB_BRIEF_H_

#include <cstdint>
#include <string>

#include "server/queue/job.h"

namespace quant {

struct JobBrief {
  std::string id;
  JobState state = JobState::kQueued;
  int64_t run_after = 0;
  int64_t create_time = 0;
  std::string lease_owner;
  std::string lease_token;
  int64_t lease_until = 0;
  std::string progress;
  JobOwner owner = {};
  int priority = kNormalPriority;
  int64_t requeue_time = 0;
  int64_t start_time = 0;
};

JobBrief BriefOf(const JobRecord& record);

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_JOB_BRIEF_H_

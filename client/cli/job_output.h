// Jobs on stdout.
#ifndef QUANT_CLIENT_CLI_JOB_OUTPUT_H_
#define QUANT_CLIENT_CLI_JOB_OUTPUT_H_

#include <string>

#include "client/cli/output.h"
#include "quant/v1/job.pb.h"

namespace quant::cli {

// One job: facts, metrics and gates for people, or as `format` says.
void PrintJob(const v1::Job& job, OutputFormat format);

// "W4A16, W8A16".
std::string SchemesOf(const v1::JobSpec& spec);
// "RUNNING 42 %", "FAILED GATE_FAILED".
std::string StateText(const v1::Job& job);
// "3 before it, starts about 2024-05-01 12:00:00".
std::string QueueText(const v1::QueueInfo& queue);
// "min_sqnr_db >= 18: 21.3, passed".
std::string GateText(const v1::GateResult& result);
// "W4A16: kl_mean <= 0.01: 0.02; raised 3 tensors"
std::string StepText(const v1::EscalationStep& step);
// Local time, "2024-05-01 12:00:00"; "-" for none.
std::string TimeText(const google::protobuf::Timestamp& time);

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_JOB_OUTPUT_H_

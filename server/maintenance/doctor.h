// Looks through a data directory for what a server would stumble over. Changes
// nothing; may run beside a server.
#ifndef QUANT_SERVER_MAINTENANCE_DOCTOR_H_
#define QUANT_SERVER_MAINTENANCE_DOCTOR_H_

#include <cstdint>
#include <string>
#include <vector>

namespace quant {

enum class Severity {
  kOk,
  kWarning,  // the server works; somebody should look
  kFailure,  // something promised is not there
};

struct Finding {
  Severity severity = Severity::kOk;
  std::string check;   // "queue", "artifacts", "uploads", "work", "disk"
  std::string detail;  // what was found, and what to do

  bool operator==(const Finding&) const = default;
};

struct DoctorOptions {
  std::string data_dir;
  // Read all files of all artifacts and uploads, and compare their SHA-256.
  bool digests = false;
  int64_t low_disk_bytes = int64_t{1} << 30;
};

// At least one finding per check.
std::vector<Finding> Examine(const DoctorOptions& options);

Severity WorstOf(const std::vector<Finding>& findings);

}  // namespace quant

#endif  // QUANT_SERVER_MAINTENANCE_DOCTOR_H_

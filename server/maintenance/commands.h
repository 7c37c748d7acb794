// quantd doctor, backup and restore: what an operator does to a data directory.
#ifndef QUANT_SERVER_MAINTENANCE_COMMANDS_H_
#define QUANT_SERVER_MAINTENANCE_COMMANDS_H_

#include <string>
#include <vector>

namespace quant {

// Whether quantd's first argument names a command of this room.
bool IsMaintenanceCommand(const std::string& name);

// Runs `arguments` (the command's name first) and answers the exit code: 0;
// 1 failed, or the doctor found a failure; 2 wrong usage.
int RunMaintenance(const std::vector<std::string>& arguments);

}  // namespace quant

#endif  // QUANT_SERVER_MAINTENANCE_COMMANDS_H_

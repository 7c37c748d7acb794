// `quantd token`: makes a bearer token.
#ifndef QUANT_SERVER_AUTH_COMMANDS_H_
#define QUANT_SERVER_AUTH_COMMANDS_H_

#include <string>
#include <vector>

namespace quant {

// `arguments` without "token". Writes the token to a new file that only its
// owner can read, and prints the line for --auth-file. The exit code: 0, 1
// failed, 2 wrong usage.
int RunTokenCommand(const std::vector<std::string>& arguments);

}  // namespace quant

#endif  // QUANT_SERVER_AUTH_COMMANDS_H_

#include "server/auth/commands.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "server/auth/auth_file.h"

namespace quant {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

struct Options {
  std::string name;
  std::string role;
  std::string tenant;
  std::string output;
};

// Never over a file that is there: it may be a token in use.
absl::Status WriteSecret(const std::string& path, const std::string& secret) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                        S_IRUSR | S_IWUSR);
  if (fd < 0) return ErrnoError(errno, path);
  const std::string line = absl::StrCat(secret, "\n");
  const bool written = ::write(fd, line.data(), line.size()) ==
                           static_cast<ssize_t>(line.size()) &&
                       ::fsync(fd) == 0;
  const int error_number = errno;
  ::close(fd);
  return written ? absl::OkStatus() : ErrnoError(error_number, path);
}

absl::Status MakeToken(const Options& options) {
  const std::optional<Role> role = ParseRole(options.role);
  if (!role) {
    return InvalidSpec(
        absl::StrCat("--role ", options.role,
                     "; want viewer, submitter, operator or admin"));
  }
  for (const std::string& name : {options.name, options.tenant}) {
    if (!IsPrincipalName(name)) {
      return InvalidSpec(
          absl::StrCat("\"", name,
                       "\"; a name or tenant has 1 to 63 characters of "
                       "[a-z0-9._-], first a letter or digit"));
    }
  }
  QUANT_ASSIGN_OR_RETURN(const std::string token, NewToken());
  QUANT_RETURN_IF_ERROR(WriteSecret(options.output, token));
  const Principal principal = {
      .name = options.name, .tenant = options.tenant, .role = *role};
  std::printf("%s\n", AuthLine(principal, DigestOfToken(token)).c_str());
  return absl::OkStatus();
}

}  // namespace

int RunTokenCommand(const std::vector<std::string>& arguments) {
  CLI::App app(
      "Makes a bearer token: the secret goes to a new file that only you can "
      "read, its\nline for the server's --auth-file, which has only a digest, "
      "to standard output.",
      "quantd token");
  Options options;
  app.add_option("--name", options.name, "Who will hold it, e.g. ci")
      ->required()
      ->type_name("NAME");
  app.add_option("--role", options.role,
                 "viewer, submitter, operator or admin; each may do what those "
                 "before it may")
      ->required()
      ->type_name("ROLE");
  app.add_option("--tenant", options.tenant,
                 "Whose jobs, uploads and artifacts it sees; an admin sees all")
      ->required()
      ->type_name("NAME");
  app.add_option("--output", options.output, "The secret; must not exist")
      ->required()
      ->type_name("FILE");
  try {
    // CLI11 takes the last argument first.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  const absl::Status made = MakeToken(options);
  if (made.ok()) return kExitOk;
  std::fprintf(stderr, "quantd token: %s\n",
               std::string(made.message()).c_str());
  return absl::IsInvalidArgument(made) ? kExitUsage : kExitFailed;
}

}  // namespace quant

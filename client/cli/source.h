// Where a model is, as commands name it: PATH here, or server:PATH there.
#ifndef QUANT_CLIENT_CLI_SOURCE_H_
#define QUANT_CLIENT_CLI_SOURCE_H_

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/recipe_flags.h"
#include "client/library/client.h"
#include "quant/v1/job.pb.h"

namespace quant::cli {

// Whether the argument names a model of the server ("server:PATH").
bool IsServerPath(const std::string& argument);

// The source for a request: server:PATH as it is; PATH is uploaded first, with
// progress on stderr.
absl::StatusOr<v1::Source> ResolveSource(Client& client,
                                         const std::string& argument);

// The same for the files beside the model; sets them in the spec.
absl::Status ResolveFiles(Client& client, const RecipeFiles& files,
                          v1::JobSpec& spec);

// Checks the names in the spec against what the server can do, so that a typing
// error shows before gigabytes are sent. The server checks all the rest.
absl::Status CheckNames(Client& client, const v1::JobSpec& spec);

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_SOURCE_H_

#include "core/pipeline/importance.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/container/npy.h"

namespace quant {
namespace {

absl::StatusOr<std::string> TheFile(const std::string& path,
                                    absl::string_view what) {
  if (!IsDirectory(path)) return path;
  QUANT_ASSIGN_OR_RETURN(const std::vector<DirEntry> entries,
                         ListDirectory(path));
  if (entries.size() != 1) {
    return InvalidSpec(absl::StrCat(path, ": holds ", entries.size(),
                                    " files; one is expected"),
                       what);
  }
  return JoinPath(path, entries[0].name);
}

}  // namespace

absl::Status LoadImportance(const std::string& path, PlanRequest& request) {
  QUANT_ASSIGN_OR_RETURN(const std::string file, TheFile(path, "imatrix"));
  auto importance = std::make_shared<Importance>();
  QUANT_ASSIGN_OR_RETURN(importance->matrix, ReadImatrix(file));
  QUANT_ASSIGN_OR_RETURN(importance->sha256, Sha256OfFile(file));
  QUANT_ASSIGN_OR_RETURN(const FileIdentity identity, IdentityOf(file));
  importance->size_bytes = identity.size_bytes;
  importance->file_name = file.substr(file.rfind('/') + 1);
  for (OutputRequest& output : request.outputs) output.importance = importance;
  return absl::OkStatus();
}

absl::Status LoadCalibration(const CalibrationSource& source,
                             PlanRequest& request) {
  QUANT_ASSIGN_OR_RETURN(const std::string file,
                         TheFile(source.path, "calibration"));
  auto calibration = std::make_shared<Calibration>();
  QUANT_ASSIGN_OR_RETURN(calibration->tokens, ReadTokens(file));
  QUANT_ASSIGN_OR_RETURN(calibration->sha256, Sha256OfFile(file));
  QUANT_ASSIGN_OR_RETURN(const FileIdentity identity, IdentityOf(file));
  calibration->sequence_length = source.sequence_length;
  calibration->max_sequences = source.max_sequences;
  calibration->size_bytes = identity.size_bytes;
  calibration->file_name = file.substr(file.rfind('/') + 1);
  bool used = false;
  for (OutputRequest& output : request.outputs) {
    QUANT_ASSIGN_OR_RETURN(const QuantMethod* method,
                           FindMethod(output.method));
    if (method->Needs() == Statistics::kNone) continue;
    output.calibration = calibration;
    used = true;
  }
  if (used) return absl::OkStatus();
  return InvalidSpec(absl::StrCat("calibration ", file,
                                  ": no output has a method that uses it; "
                                  "\"gptq\" does"),
                     "calibration");
}

}  // namespace quant

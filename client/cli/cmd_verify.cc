#include <iostream>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "core/artifact/manifest.h"
#include "core/base/bytes.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

class Verify : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("directory", directory_,
                   "An artifact, or a directory of artifacts")
        ->required();
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(const std::vector<std::string> artifacts, Find());
    int code = kExitOk;
    for (const std::string& artifact : artifacts) {
      QUANT_ASSIGN_OR_RETURN(const VerifyReport report,
                             VerifyArtifact(artifact));
      for (const std::string& problem : report.problems) {
        std::cerr << "quantctl: " << Printable(artifact) << ": "
                  << Printable(problem) << "\n";
      }
      std::cout << Printable(artifact) << ": "
                << (report.problems.empty() ? "OK" : "FAILED") << ", "
                << report.files << " files, " << FormatBytes(report.bytes)
                << "\n";
      if (!report.problems.empty()) code = kExitDigestMismatch;
    }
    return code;
  }

 private:
  // The directory itself, or those of its folders that have a manifest.
  absl::StatusOr<std::vector<std::string>> Find() const {
    if (PathExists(JoinPath(directory_, kManifestName))) {
      return std::vector<std::string>{directory_};
    }
    QUANT_ASSIGN_OR_RETURN(const std::vector<DirEntry> entries,
                           ListDirectory(directory_));
    std::vector<std::string> found;
    for (const DirEntry& entry : entries) {
      const std::string path = JoinPath(directory_, entry.name);
      if (entry.is_directory && PathExists(JoinPath(path, kManifestName))) {
        found.push_back(path);
      }
    }
    if (found.empty()) {
      return MakeError(
          absl::StatusCode::kNotFound, Reason::kArtifactNotFound,
          absl::StrCat(directory_, ": there is no ", kManifestName));
    }
    return found;
  }

  std::string directory_;
};

}  // namespace

std::unique_ptr<Command> MakeVerify() { return std::make_unique<Verify>(); }

}  // namespace quant::cli

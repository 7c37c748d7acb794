#include <iostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/fetch.h"
#include "client/cli/output.h"
#include "client/cli/server_flags.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

class Download : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("name", name_, "jobs/ID (or ID), or artifacts/ID")
        ->required();
    app.add_option("--output", output_, "Directory for the files")->required();
    app.add_flag("--overwrite", overwrite_,
                 "Replace what is in the output directory");
    server_.Add(app);
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           server_.Connect());
    QUANT_ASSIGN_OR_RETURN(const std::vector<std::string> artifacts,
                           Artifacts(*client));
    QUANT_ASSIGN_OR_RETURN(
        const std::vector<Fetched> fetched,
        FetchArtifacts(*client, artifacts, output_, overwrite_));
    for (const Fetched& one : fetched) Print(one);
    return kExitOk;
  }

 private:
  absl::StatusOr<std::vector<std::string>> Artifacts(Client& client) const {
    if (absl::StartsWith(name_, "artifacts/")) return std::vector{name_};
    QUANT_ASSIGN_OR_RETURN(const v1::Job job,
                           client.Get(FullName("jobs", name_)));
    if (job.artifacts_size() == 0) {
      return MakeError(absl::StatusCode::kNotFound, Reason::kArtifactNotFound,
                       absl::StrCat(job.name(), ": no artifacts; it is ",
                                    v1::Job::State_Name(job.state())));
    }
    return std::vector<std::string>(job.artifacts().begin(),
                                    job.artifacts().end());
  }

  void Print(const Fetched& one) const {
    const v1::Artifact& artifact = one.report.artifact;
    if (artifact.gate_failed()) {
      std::cerr << "quantctl: " << Printable(artifact.name())
                << " failed a gate\n";
    }
    if (format_ == OutputFormat::kName) {
      std::cout << Printable(one.directory) << "\n";
      return;
    }
    if (format_ != OutputFormat::kTable) {
      return PrintMessage(artifact, format_);
    }
    std::cout << Printable(one.directory) << " (" << Printable(artifact.name())
              << ", verified)\n";
    Table table({"  FILE", "BYTES", "SHA-256"});
    for (const v1::ArtifactFile& file : artifact.files()) {
      table.Add(
          {"  " + file.path(), absl::StrCat(file.size_bytes()), file.sha256()});
    }
    table.Print();
  }

  std::string name_;
  std::string output_;
  bool overwrite_ = false;
  ServerFlags server_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeDownload() { return std::make_unique<Download>(); }

}  // namespace quant::cli

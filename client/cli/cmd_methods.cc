#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/cli/server_flags.h"
#include "core/base/status_macros.h"
#include "core/recipe/describe.h"

namespace quant::cli {
namespace {

std::string GroupText(const v1::SchemeInfo& scheme) {
  return scheme.group_size() > 0
             ? absl::StrCat(scheme.granularity(), " ", scheme.group_size())
             : scheme.granularity();
}

class Methods : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_flag("--remote", remote_, "Ask the server");
    server_.Add(app);
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    v1::Capabilities known;
    if (remote_) {
      QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                             server_.Connect());
      QUANT_ASSIGN_OR_RETURN(known, client->Capabilities());
    } else {
      known = DescribeCapabilities();
    }
    Print(known);
    return 0;
  }

 private:
  void Print(const v1::Capabilities& known) const {
    if (format_ == OutputFormat::kName) {
      for (const v1::SchemeInfo& scheme : known.schemes()) {
        if (scheme.unavailable().empty()) {
          std::cout << Printable(scheme.name()) << "\n";
        }
      }
      return;
    }
    if (format_ != OutputFormat::kTable) return PrintMessage(known, format_);
    Table schemes({"SCHEME", "BITS", "GRANULARITY", "FORMATS", "DESCRIPTION"});
    for (const v1::SchemeInfo& scheme : known.schemes()) {
      schemes.Add({scheme.name(), absl::StrCat(scheme.bits()),
                   GroupText(scheme), absl::StrJoin(scheme.formats(), ", "),
                   scheme.unavailable().empty()
                       ? scheme.description()
                       : absl::StrCat("not yet: ", scheme.unavailable())});
    }
    schemes.Print();
    Table methods({"METHOD", "DESCRIPTION"});
    for (const v1::MethodInfo& method : known.methods()) {
      methods.Add({method.name(), method.description()});
    }
    std::cout << "\n";
    methods.Print();
    Table formats({"FORMAT", "DESCRIPTION"});
    for (const v1::FormatInfo& format : known.formats()) {
      formats.Add({format.name(), format.description()});
    }
    std::cout << "\n";
    formats.Print();
    std::cout << "\n";
    PrintFacts({{"gate metrics", absl::StrJoin(known.gate_metrics(), ", ")},
                {"SIMD targets", absl::StrJoin(known.cpu_targets(), ", ")},
                {"version", known.version()}});
  }

  bool remote_ = false;
  ServerFlags server_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeMethods() { return std::make_unique<Methods>(); }

}  // namespace quant::cli

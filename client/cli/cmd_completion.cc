#include <iostream>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/cli/choice.h"
#include "client/cli/command.h"

namespace quant::cli {
namespace {

struct Words {
  std::string command;
  std::string description;
  std::vector<std::string> flags;
};

// Commands and flags as the parser knows them; completion has no flags.
std::vector<Words> AllWords() {
  std::vector<Words> all;
  for (const CommandRow& row : Commands()) {
    Words words{row.name, row.description, {"--help"}};
    if (words.command != "completion") {
      CLI::App app;
      row.make()->AddFlags(app);
      for (const CLI::Option* option : app.get_options()) {
        for (const std::string& name : option->get_lnames()) {
          if (name != "help") words.flags.push_back("--" + name);
        }
        for (const std::string& name : option->get_snames()) {
          if (name != "h") words.flags.push_back("-" + name);
        }
      }
    }
    all.push_back(std::move(words));
  }
  return all;
}

std::string CommandNames(const std::vector<Words>& all) {
  return absl::StrJoin(all, " ", [](std::string* out, const Words& words) {
    out->append(words.command);
  });
}

std::string Bash(const std::vector<Words>& all) {
  std::string out = absl::StrCat(
      "_quantctl() {\n"
      "  local word=\"${COMP_WORDS[COMP_CWORD]}\" words=\"\"\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    words=\"",
      CommandNames(all),
      "\"\n"
      "  else\n"
      "    case \"${COMP_WORDS[1]}\" in\n");
  for (const Words& words : all) {
    absl::StrAppend(&out, "      ", words.command, ") words=\"",
                    absl::StrJoin(words.flags, " "), "\" ;;\n");
  }
  absl::StrAppend(&out,
                  "    esac\n"
                  "  fi\n"
                  "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
                  "}\n"
                  "complete -o default -F _quantctl quantctl\n");
  return out;
}

// Works as a file of fpath, whose first call must complete at once, and by
// `source`, which only declares.
std::string Zsh(const std::vector<Words>& all) {
  std::string commands, flags;
  for (const Words& words : all) {
    absl::StrAppend(
        &commands, "    '", words.command, ":",
        absl::StrReplaceAll(words.description, {{"'", "'\\''"}, {":", "\\:"}}),
        "'\n");
    absl::StrAppend(&flags, "    ", words.command, ") flags=(",
                    absl::StrJoin(words.flags, " "), ") ;;\n");
  }
  return absl::StrCat(
      "#compdef quantctl\n"
      "_quantctl() {\n"
      "  local -a commands flags\n"
      "  commands=(\n",
      commands,
      "  )\n"
      "  if (( CURRENT == 2 )); then\n"
      "    _describe command commands\n"
      "    return\n"
      "  fi\n"
      "  case $words[2] in\n",
      flags,
      "  esac\n"
      "  if [[ $PREFIX == -* ]]; then\n"
      "    compadd -- $flags\n"
      "  else\n"
      "    _files\n"
      "  fi\n"
      "}\n"
      "if [[ $funcstack[1] == _quantctl ]]; then\n"
      "  _quantctl \"$@\"\n"
      "else\n"
      "  compdef _quantctl quantctl\n"
      "fi\n");
}

std::string Fish(const std::vector<Words>& all) {
  std::string out;
  for (const Words& words : all) {
    absl::StrAppend(&out, "complete -c quantctl -n __fish_use_subcommand -a ",
                    words.command, " -d '",
                    absl::StrReplaceAll(words.description, {{"'", "\\'"}}),
                    "'\n");
    for (const std::string& flag : words.flags) {
      const bool is_long = flag[1] == '-';
      absl::StrAppend(&out,
                      "complete -c quantctl -n '__fish_seen_subcommand_from ",
                      words.command, "' ", is_long ? "-l " : "-s ",
                      flag.substr(is_long ? 2 : 1), "\n");
    }
  }
  return out;
}

class Completion : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("shell", shell_, "bash, zsh or fish")
        ->required()
        ->transform(OneOf({"bash", "zsh", "fish"}));
    app.footer("For example: source <(quantctl completion bash)");
  }

  absl::StatusOr<int> Run() override {
    const std::vector<Words> all = AllWords();
    std::cout << (shell_ == "fish"  ? Fish(all)
                  : shell_ == "zsh" ? Zsh(all)
                                    : Bash(all));
    return 0;
  }

 private:
  std::string shell_;
};

}  // namespace

std::unique_ptr<Command> MakeCompletion() {
  return std::make_unique<Completion>();
}

}  // namespace quant::cli

#include <map>
#include <regex>

#include "tests/tidy/rules.h"

namespace quant::tidy {
namespace {

// "quant::core" at each line, from the lines that open and close namespaces;
// "" is an anonymous one, whose names nobody else sees.
class Namespaces {
 public:
  void Read(const std::string& line) {
    static const std::regex opens(R"(^namespace ([\w:]* ?)\{$)");
    static const std::regex closes(R"(^\}  // namespace.*$)");
    std::smatch match;
    if (std::regex_match(line, match, opens)) {
      names_.push_back(match[1]);
    } else if (std::regex_match(line, closes) && !names_.empty()) {
      names_.pop_back();
    }
  }

  bool IsAnonymous() const {
    for (const std::string& name : names_) {
      if (name.empty()) return true;
    }
    return false;
  }

  std::string Path() const {
    std::string path;
    for (const std::string& name : names_) {
      path += name.substr(0, name.find(' ')) + "::";
    }
    return path;
  }

 private:
  std::vector<std::string> names_;
};

}  // namespace

Breaches CheckTypeNames(const std::vector<SourceFile>& tree) {
  static const std::regex defines(
      R"(^(struct|class|enum class|enum) (\w+)( final)?( :.*)?( \{.*)?$)");
  std::map<std::string, std::string> known;  // name -> where
  Breaches breaches;
  for (const SourceFile& file : tree) {
    if (!IsCpp(file) || IsUnder(file, "tests")) continue;
    Namespaces space;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const std::string code = CodeOf(file.lines[i]);
      space.Read(file.lines[i]);
      std::smatch match;
      if (space.IsAnonymous() || !std::regex_match(code, match, defines)) {
        continue;
      }
      const std::string name = space.Path() + match[2].str();
      const std::string where = file.path + ":" + std::to_string(i + 1);
      const auto [at, is_new] = known.emplace(name, where);
      // A template and its specializations lie together.
      if (is_new || at->second.find(file.path + ":") == 0) continue;
      breaches.push_back(where + ": " + name + " is defined at " + at->second +
                         " too; one program may have a name once");
    }
  }
  return breaches;
}

}  // namespace quant::tidy

#include "tests/tidy/source_tree.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace quant::tidy {
namespace {

namespace fs = std::filesystem;

bool IsSkippedFolder(const std::string& name) {
  static const std::set<std::string> skipped = {".git", "build", "out",
                                                "__pycache__", ".venv"};
  return skipped.count(name) > 0;
}

bool IsText(const std::string& text) {
  return text.substr(0, 4096).find('\0') == std::string::npos;
}

}  // namespace

SourceFile MakeFile(std::string path, const std::string& text) {
  SourceFile file{.path = std::move(path),
                  .lines = {},
                  .size_bytes = static_cast<int64_t>(text.size())};
  if (!IsText(text)) return file;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    file.lines.push_back(line);
  }
  return file;
}

std::vector<SourceFile> ReadTree(const std::string& root) {
  std::vector<SourceFile> files;
  auto it = fs::recursive_directory_iterator(root);
  for (; it != fs::recursive_directory_iterator(); ++it) {
    if (it->is_directory()) {
      if (IsSkippedFolder(it->path().filename()))
        it.disable_recursion_pending();
      continue;
    }
    // In a worktree .git is a file that names the main checkout.
    if (it->path().filename() == ".git") continue;
    std::ifstream stream(it->path(), std::ios::binary);
    std::ostringstream text;
    text << stream.rdbuf();
    files.push_back(
        MakeFile(fs::relative(it->path(), root).generic_string(), text.str()));
  }
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

bool IsCpp(const SourceFile& file) {
  const std::string extension = fs::path(file.path).extension();
  return extension == ".cc" || extension == ".h";
}

bool IsUnder(const SourceFile& file, const std::string& folder) {
  return file.path.rfind(folder + "/", 0) == 0;
}

std::string CodeOf(const std::string& line) {
  std::string code;
  char quote = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote != 0) {
      if (c == '\\') ++i;
      if (c == quote) quote = 0;
      if (quote == 0) code += c;
      continue;
    }
    if (c == '/' && i + 1 < line.size() && line[i + 1] == '/') break;
    // A quote between digits separates thousands.
    const bool separator = c == '\'' && i > 0 && std::isxdigit(line[i - 1]);
    if (c == '"' || (c == '\'' && !separator)) quote = c;
    code += c;
  }
  return code;
}

}  // namespace quant::tidy

// The sources as the rules see them: paths and lines.
#ifndef QUANT_TESTS_TIDY_SOURCE_TREE_H_
#define QUANT_TESTS_TIDY_SOURCE_TREE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace quant::tidy {

struct SourceFile {
  std::string path;  // relative to the root, '/'-separated
  std::vector<std::string> lines;
  int64_t size_bytes = 0;
};

SourceFile MakeFile(std::string path, const std::string& text);

// Every file below `root` that is part of the project; not build/, nor .git.
// Files that are not text have no lines.
std::vector<SourceFile> ReadTree(const std::string& root);

bool IsCpp(const SourceFile& file);
bool IsUnder(const SourceFile& file, const std::string& folder);

// The code of a line: without strings' contents and // comments.
std::string CodeOf(const std::string& line);

}  // namespace quant::tidy

#endif  // QUANT_TESTS_TIDY_SOURCE_TREE_H_

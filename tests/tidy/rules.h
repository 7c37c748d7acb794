// The rules of docs/style.md that a program can check. Each returns one line
// per breach: "path:line: what; what is allowed".
#ifndef QUANT_TESTS_TIDY_RULES_H_
#define QUANT_TESTS_TIDY_RULES_H_

#include <string>
#include <vector>

#include "tests/tidy/source_tree.h"

namespace quant::tidy {

using Breaches = std::vector<std::string>;

// Arrows between rooms only point down, and siblings never include each other
// (docs/architecture.md).
Breaches CheckLayers(const SourceFile& file);

// A file's and a function's length, against the caps and the allow-list.
Breaches CheckLengths(const SourceFile& file);

// Calls that a room must not make; endings of errors that nobody sees.
Breaches CheckCalls(const SourceFile& file);

// Open ends, words of the workplace, tabs, trailing blanks, wide lines,
// header guards.
Breaches CheckText(const SourceFile& file);

// Types of two files with one name: the linker would take either's functions
// for both.
Breaches CheckTypeNames(const std::vector<SourceFile>& tree);

// Keep a Changelog: sections of versions, newest first, with known headings.
Breaches CheckChangelog(const SourceFile& file);

struct Function {
  int line = 0;    // of its signature, from 1
  int length = 0;  // lines, signature included
  std::string signature;
};
// Functions by layout: formatted code closes a body at the indentation of its
// signature.
std::vector<Function> FindFunctions(const SourceFile& file);

}  // namespace quant::tidy

#endif  // QUANT_TESTS_TIDY_RULES_H_

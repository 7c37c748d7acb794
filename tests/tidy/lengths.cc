#include <algorithm>
#include <map>
#include <regex>

#include "tests/tidy/rules.h"

namespace quant::tidy {
namespace {

constexpr int kMaxFunctionLines = 70;
constexpr int kMaxKernelLines = 120;

// A ratchet: what is longer than the cap today, how long it may be, and why.
// Entries shrink or go; new ones need a reason that convinces a reviewer.
struct Allowance {
  int lines;
  const char* reason;
};

const std::map<std::string, Allowance>& FileAllowances() {
  static const auto* allowances = new std::map<std::string, Allowance>{};
  return *allowances;
}

const std::map<std::string, Allowance>& FunctionAllowances() {
  static const auto* allowances = new std::map<std::string, Allowance>{};
  return *allowances;
}

int FileCap(const SourceFile& file) {
  const auto allowance = FileAllowances().find(file.path);
  if (allowance != FileAllowances().end()) return allowance->second.lines;
  if (!IsUnder(file, "tests") && file.path.ends_with(".h")) return 300;
  return 500;
}

int FunctionCap(const SourceFile& file, const Function& function) {
  for (const auto& [key, allowance] : FunctionAllowances()) {
    const size_t colon = key.find(':');
    if (file.path == key.substr(0, colon) &&
        function.signature.find(key.substr(colon + 1)) != std::string::npos) {
      return allowance.lines;
    }
  }
  return IsUnder(file, "core/kernels") ? kMaxKernelLines : kMaxFunctionLines;
}

size_t IndentOf(const std::string& line) {
  const size_t indent = line.find_first_not_of(' ');
  return indent == std::string::npos ? 0 : indent;
}

// Whether a block that opens with this statement is a function's body.
bool IsSignature(const std::string& statement) {
  static const std::regex other(
      R"(^\s*(\}|if\b|for\b|while\b|switch\b|else\b|do\b|try\b|catch\b|case\b)"
      R"(|namespace\b|class\b|struct\b|enum\b|union\b|extern\b|return\b))");
  static const std::regex call(R"([\w>~=\]+*!<-]+\s*\()");
  // `= {`, `({`, `, {` open values, `] (...) {` opens a lambda.
  static const std::regex value(R"((=|\(|,|return)\s*\{$|\]\s*(\([^)]*\))?)"
                                R"(\s*(mutable)?\s*(->.*)?\{$)");
  return std::regex_search(statement, call) &&
         !std::regex_search(statement, other) &&
         !std::regex_search(statement, value);
}

bool EndsStatement(const std::string& code) {
  const size_t last = code.find_last_not_of(" \t");
  if (last == std::string::npos) return true;
  const char c = code[last];
  return c == ';' || c == '{' || c == '}' || code[0] == '#' ||
         code.ends_with("public:") || code.ends_with("private:") ||
         code.ends_with("protected:");
}

int FirstLineOfStatement(const std::vector<std::string>& code, int open) {
  int first = open;
  int unclosed = 0;  // ')' whose '(' is further up: braces there are values
  const auto add = [&](const std::string& line) {
    unclosed += static_cast<int>(std::count(line.begin(), line.end(), ')'));
    unclosed -= static_cast<int>(std::count(line.begin(), line.end(), '('));
  };
  add(code[first]);
  while (first > 0 && (unclosed > 0 || !EndsStatement(code[first - 1]))) {
    add(code[--first]);
  }
  return first;
}

}  // namespace

std::vector<Function> FindFunctions(const SourceFile& file) {
  std::vector<std::string> code;
  code.reserve(file.lines.size());
  for (const std::string& line : file.lines) code.push_back(CodeOf(line));
  std::vector<Function> functions;
  for (int open = 0; open < static_cast<int>(code.size()); ++open) {
    if (!code[open].ends_with("{")) continue;
    const int first = FirstLineOfStatement(code, open);
    std::string statement;
    for (int i = first; i <= open; ++i) statement += code[i] + " ";
    statement.pop_back();
    if (!IsSignature(statement)) continue;
    const std::string closing(IndentOf(code[first]), ' ');
    int close = open + 1;
    while (close < static_cast<int>(code.size()) &&
           code[close].rfind(closing + "}", 0) != 0) {
      ++close;
    }
    functions.push_back({first + 1, close - first + 1, statement});
    open = close;
  }
  return functions;
}

Breaches CheckLengths(const SourceFile& file) {
  Breaches breaches;
  if (!IsCpp(file) && !file.path.ends_with(".py")) return breaches;
  const int lines = static_cast<int>(file.lines.size());
  if (lines > FileCap(file)) {
    breaches.push_back(file.path + ": " + std::to_string(lines) +
                       " lines; at most " + std::to_string(FileCap(file)));
  }
  if (!IsCpp(file)) return breaches;
  for (const Function& function : FindFunctions(file)) {
    const int cap = FunctionCap(file, function);
    if (function.length <= cap) continue;
    breaches.push_back(file.path + ":" + std::to_string(function.line) +
                       ": a function of " + std::to_string(function.length) +
                       " lines; at most " + std::to_string(cap));
  }
  return breaches;
}

}  // namespace quant::tidy

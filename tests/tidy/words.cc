#include <regex>
#include <set>

#include "tests/tidy/rules.h"

namespace quant::tidy {
namespace {

constexpr int64_t kMaxFileBytes = 10 << 20;
constexpr size_t kMaxColumns = 80;

std::string At(const SourceFile& file, size_t index) {
  return file.path + ":" + std::to_string(index + 1) + ": ";
}

struct BannedCall {
  std::regex pattern;
  const char* folder;  // where it is banned
  const char* message;
};

const std::vector<BannedCall>& BannedCalls() {
  static const auto* calls = new std::vector<BannedCall>{
      {std::regex(R"(\b(printf|fprintf|puts|perror)\s*\(|std::(cout|cerr)\b)"),
       "core/", "core never prints; return a Status or call back"},
      {std::regex(R"(std::(thread|jthread|async)\b(?!::))"), "core/",
       "core starts no thread; it is given a ThreadPool"},
      {std::regex(R"(\b(abort|exit|_exit|quick_exit)\s*\()"), "core/",
       "core never ends the process"},
      {std::regex(R"(\bthrow\b)"), "", "no exceptions; return a Status"},
      {std::regex(R"((^|[^\w.])(std::)?(system|popen)\s*\()"), "",
       "no shell; start programs by their path and arguments"},
      {std::regex(R"(GTEST_SKIP|\bDISABLED_|EXPECT_TRUE\(true\))"), "tests/",
       "a test that is skipped or can't fail hides a defect"},
  };
  return *calls;
}

// Files that are the one place where a banned call belongs.
bool IsExempt(const SourceFile& file, const std::string& message) {
  return file.path == "core/base/thread_pool.cc" ||
         file.path == "core/base/thread_pool.h" ||
         (IsUnder(file, "tests") && message.find("shell") != std::string::npos);
}

bool HasCommentNear(const SourceFile& file, size_t index) {
  const size_t last = std::min(index + 1, file.lines.size() - 1);
  for (size_t i = index == 0 ? 0 : index - 1; i <= last; ++i) {
    if (CodeOf(file.lines[i]).size() != file.lines[i].size()) return true;
  }
  return false;
}

// Whether the line stands in a loop that watches the clock, or is the random
// moment of a fault.
bool IsPolling(const SourceFile& file, size_t index) {
  static const std::regex clock(
      R"([Pp]oll|[Dd]eadline|now\(\) <|[Rr]andom|SIGKILL)");
  const size_t last = std::min(index + 1, file.lines.size() - 1);
  for (size_t i = index < 6 ? 0 : index - 6; i <= last; ++i) {
    if (std::regex_search(file.lines[i], clock)) return true;
  }
  return false;
}

void CheckSleepAndCatch(const SourceFile& file, size_t index,
                        const std::string& code, Breaches& breaches) {
  static const std::regex nap(R"(\b(sleep|usleep|sleep_for|SleepFor)\s*\()");
  static const std::regex catch_all(R"(catch\s*\(\s*\.\.\.\s*\))");
  if (IsUnder(file, "tests") && std::regex_search(code, nap) &&
      !IsPolling(file, index)) {
    breaches.push_back(At(file, index) +
                       "a sleep in a test; poll with a deadline");
  }
  if (std::regex_search(code, catch_all) && !HasCommentNear(file, index)) {
    breaches.push_back(At(file, index) +
                       "catch (...) without a comment that says why");
  }
}

// Written in two halves, so that this file does not contain them.
const std::regex& OpenEnds() {
  static const std::regex words(
      "\\b(TO"
      "DO|FIX"
      "ME|XX"
      "X)\\b");
  return words;
}

const std::regex& WorkplaceWords() {
  static const std::regex words(
      "/wo"
      "rk/(main|shared|[.])|[.]lib"
      "rary/|/wo"
      "rkspace/");
  return words;
}

size_t Columns(const std::string& line) {
  size_t columns = 0;
  for (unsigned char c : line) columns += (c & 0xC0) != 0x80;
  return columns;
}

// Lines that can't be broken: includes, links, and literals.
bool MayBeWide(const std::string& line) {
  return line.find("#include") != std::string::npos ||
         line.find("://") != std::string::npos ||
         line.find("R\"") != std::string::npos;
}

std::string GuardOf(const std::string& path) {
  std::string guard = "QUANT_";
  for (char c : path) guard += std::isalnum(c) ? std::toupper(c) : '_';
  return guard + "_";
}

void CheckGuard(const SourceFile& file, Breaches& breaches) {
  const std::string guard = "#ifndef " + GuardOf(file.path);
  for (const std::string& line : file.lines) {
    if (line == guard) return;
    // Highway's per-target bodies are included many times.
    if (line.find("HWY_TARGET_TOGGLE") != std::string::npos) return;
  }
  breaches.push_back(file.path + ": no " + guard);
}

}  // namespace

Breaches CheckCalls(const SourceFile& file) {
  Breaches breaches;
  if (!IsCpp(file)) return breaches;
  for (size_t i = 0; i < file.lines.size(); ++i) {
    const std::string code = CodeOf(file.lines[i]);
    for (const BannedCall& call : BannedCalls()) {
      if (file.path.rfind(call.folder, 0) == 0 &&
          std::regex_search(code, call.pattern) &&
          !IsExempt(file, call.message)) {
        breaches.push_back(At(file, i) + call.message);
      }
    }
    CheckSleepAndCatch(file, i, code, breaches);
  }
  return breaches;
}

Breaches CheckText(const SourceFile& file) {
  Breaches breaches;
  if (file.size_bytes > kMaxFileBytes) {
    breaches.push_back(file.path + ": " + std::to_string(file.size_bytes) +
                       " bytes; at most " + std::to_string(kMaxFileBytes));
  }
  for (size_t i = 0; i < file.lines.size(); ++i) {
    const std::string& line = file.lines[i];
    if (std::regex_search(line, OpenEnds())) {
      breaches.push_back(At(file, i) + "an open end; finish it or file it");
    }
    if (std::regex_search(line, WorkplaceWords())) {
      breaches.push_back(At(file, i) + "a path of some workplace");
    }
    if (!IsCpp(file)) continue;
    if (Columns(line) > kMaxColumns && !MayBeWide(line)) {
      breaches.push_back(At(file, i) + "wider than 80 columns");
    }
    if (!line.empty() && (line.back() == ' ' || line.back() == '\t')) {
      breaches.push_back(At(file, i) + "trailing blanks");
    }
    if (line.find('\t') != std::string::npos) {
      breaches.push_back(At(file, i) + "a tab");
    }
  }
  if (file.path.ends_with(".h")) CheckGuard(file, breaches);
  return breaches;
}

Breaches CheckChangelog(const SourceFile& file) {
  static const std::regex version(
      R"(^## \[(Unreleased\]|\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2})$)");
  static const std::set<std::string> headings = {
      "### Added",   "### Changed", "### Deprecated",
      "### Removed", "### Fixed",   "### Security"};
  Breaches breaches;
  if (file.lines.empty() || file.lines[0] != "# Changelog") {
    breaches.push_back(file.path + ": must begin with \"# Changelog\"");
  }
  int versions = 0;
  for (size_t i = 0; i < file.lines.size(); ++i) {
    const std::string& line = file.lines[i];
    if (line.rfind("### ", 0) == 0 && headings.count(line) == 0) {
      breaches.push_back(At(file, i) + "unknown heading");
    } else if (line.rfind("## ", 0) == 0) {
      ++versions;
      if (!std::regex_search(line, version)) {
        breaches.push_back(At(file, i) + "not \"[x.y.z] - yyyy-mm-dd\"");
      }
    }
  }
  if (versions == 0) breaches.push_back(file.path + ": no version");
  return breaches;
}

}  // namespace quant::tidy

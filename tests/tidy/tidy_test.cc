// The rules, on examples that keep and break them, and then on the tree.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tidy/rules.h"

namespace quant::tidy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const std::vector<SourceFile>& Tree() {
  static const auto* tree =
      new std::vector<SourceFile>(ReadTree(QUANT_SOURCE_DIR));
  return *tree;
}

Breaches OnTheTree(Breaches (*rule)(const SourceFile&)) {
  Breaches all;
  for (const SourceFile& file : Tree()) {
    for (std::string& breach : rule(file)) all.push_back(std::move(breach));
  }
  return all;
}

SourceFile Including(std::string path, const std::string& header) {
  return MakeFile(std::move(path), "#include \"" + header + "\"\n");
}

std::string Lines(int count, const std::string& line) {
  std::string text;
  for (int i = 0; i < count; ++i) text += line + "\n";
  return text;
}

TEST(TidyTree, IsFoundWhole) {
  int cpp = 0;
  for (const SourceFile& file : Tree()) cpp += IsCpp(file);
  EXPECT_GT(cpp, 100);
}

TEST(TidyTree, ArrowsPointDown) {
  EXPECT_THAT(OnTheTree(CheckLayers), IsEmpty());
}

TEST(TidyTree, FilesAndFunctionsAreShort) {
  EXPECT_THAT(OnTheTree(CheckLengths), IsEmpty());
}

TEST(TidyTree, NoBannedCalls) { EXPECT_THAT(OnTheTree(CheckCalls), IsEmpty()); }

TEST(TidyTree, TextIsClean) { EXPECT_THAT(OnTheTree(CheckText), IsEmpty()); }

TEST(TidyTree, TypesHaveNamesOfTheirOwn) {
  EXPECT_THAT(CheckTypeNames(Tree()), IsEmpty());
}

TEST(TidyTree, ChangelogHasItsShape) {
  for (const SourceFile& file : Tree()) {
    if (file.path != "CHANGELOG.md") continue;
    EXPECT_THAT(CheckChangelog(file), IsEmpty());
    return;
  }
  FAIL() << "no CHANGELOG.md";
}

TEST(TidyNames, OneDefinitionPerNamespace) {
  const auto in = [](std::string path, const std::string& space) {
    return MakeFile(std::move(path), "namespace " + space +
                                         "{\nstruct Rope {\n};\n}  // "
                                         "namespace\nclass Later;\n");
  };
  EXPECT_THAT(CheckTypeNames({in("core/a.h", "quant "), in("core/b.cc", ""),
                              in("core/c.h", "quant::cli ")}),
              IsEmpty());
  EXPECT_THAT(
      CheckTypeNames({in("core/a.h", "quant "), in("core/b.cc", "quant ")}),
      ElementsAre(HasSubstr("core/b.cc:2: quant::Rope")));
}

TEST(TidyLayers, DownIsAllowed) {
  EXPECT_THAT(CheckLayers(Including("core/codec/a.cc", "core/tensor/b.h")),
              IsEmpty());
  EXPECT_THAT(CheckLayers(Including("server/api/a.cc", "server/queue/b.h")),
              IsEmpty());
  EXPECT_THAT(CheckLayers(Including("client/cli/a.cc", "core/pipeline/b.h")),
              IsEmpty());
  EXPECT_THAT(CheckLayers(Including("core/base/a.cc", "absl/status/status.h")),
              IsEmpty());
}

TEST(TidyLayers, UpSidewaysAndAcrossAreNot) {
  const std::pair<const char*, const char*> forbidden[] = {
      {"core/base/a.cc", "core/tensor/b.h"},
      {"core/kernels/a.cc", "core/container/b.h"},
      {"core/method/a.cc", "core/artifact/b.h"},
      {"core/pipeline/a.cc", "quant/v1/job.pb.h"},
      {"core/recipe/a.cc", "server/queue/b.h"},
      {"server/queue/a.cc", "server/store/b.h"},
      {"server/queue/a.cc", "core/pipeline/b.h"},
      {"server/api/a.cc", "server/worker/b.h"},
      {"server/api/a.cc", "core/pipeline/b.h"},
      {"server/worker/a.cc", "server/planner.h"},
      {"client/library/a.cc", "core/codec/b.h"},
      {"client/cli/a.cc", "server/config/b.h"},
      {"core/base/a.cc", "tests/tidy/rules.h"},
  };
  for (const auto& [from, to] : forbidden) {
    EXPECT_THAT(CheckLayers(Including(from, to)), SizeIs(1))
        << from << " -> " << to;
  }
  EXPECT_THAT(CheckLayers(Including("core/attic/a.cc", "core/base/b.h")),
              ElementsAre(HasSubstr("no such room")));
}

TEST(TidyLengths, FindsFunctionsAndNothingElse) {
  const SourceFile file = MakeFile("core/base/a.cc", R"(namespace quant {

struct S {
  int Get() const { return 1; }
  int Long(int a,
           int b) const {
    if (a) {
      return b;
    }
    return a;
  }
};

const int kValues[] = {
    1,
    2,
};

int Defaults(int a, std::vector<int> b = {
                        Make(1)}) {
  return 1;
}

int Free() {
  const auto lambda = [&](int x) {
    return x;
  };
  return lambda(1);
}

}  // namespace quant
)");
  const std::vector<Function> functions = FindFunctions(file);
  ASSERT_THAT(functions, SizeIs(3));
  EXPECT_EQ(functions[0].line, 5);
  EXPECT_EQ(functions[0].length, 7);
  EXPECT_THAT(functions[1].signature, HasSubstr("Defaults"));
  EXPECT_EQ(functions[1].length, 4);
  EXPECT_THAT(functions[2].signature, HasSubstr("Free"));
  EXPECT_EQ(functions[2].length, 6);
}

TEST(TidyLengths, Caps) {
  const std::string body = "int F() {\n" + Lines(69, "  g();") + "}\n";
  EXPECT_THAT(CheckLengths(MakeFile("core/base/a.cc", body)), SizeIs(1));
  EXPECT_THAT(CheckLengths(MakeFile("core/kernels/a.cc", body)), IsEmpty());
  const std::string long_file = Lines(301, "int a;");
  EXPECT_THAT(CheckLengths(MakeFile("core/base/a.h", long_file)), SizeIs(1));
  EXPECT_THAT(CheckLengths(MakeFile("core/base/a.cc", long_file)), IsEmpty());
}

TEST(TidyCalls, BannedOnes) {
  const std::pair<const char*, const char*> banned[] = {
      {"core/base/a.cc", "  printf(\"x\");"},
      {"core/base/a.cc", "  std::cerr << 1;"},
      {"core/codec/a.cc", "  std::thread t(f);"},
      {"server/api/a.cc", "  throw 1;"},
      {"server/api/a.cc", "  system(\"ls\");"},
      {"server/api/a.cc", "  } catch (...) {"},
      {"tests/core/base/a.cc", "  std::this_thread::sleep_for(1ms);"},
      {"tests/core/base/a.cc", "  GTEST_SKIP();"},
  };
  for (const auto& [path, line] : banned) {
    EXPECT_THAT(CheckCalls(MakeFile(path, line)), SizeIs(1)) << line;
  }
}

TEST(TidyCalls, AllowedOnes) {
  const std::pair<const char*, const char*> allowed[] = {
      {"client/cli/a.cc", "  printf(\"x\");"},
      {"core/base/a.cc", "  snprintf(b, 8, \"x\");"},
      {"core/base/a.cc", "  // printf(1) would be wrong"},
      {"core/base/a.cc", "  f(\"printf(1)\");"},
      {"server/api/a.cc", "  } catch (...) {  // the library throws ints"},
      {"tests/core/base/a.cc", "while (Clock::now() < end) sleep_for(1ms);"},
      {"server/api/a.cc", "  file_system(1);"},
  };
  for (const auto& [path, line] : allowed) {
    EXPECT_THAT(CheckCalls(MakeFile(path, line)), IsEmpty()) << line;
  }
}

TEST(TidyText, Breaches) {
  const std::string dirty[] = {std::string("// TO") + "DO: later",
                               std::string("cd /wo") + "rk/main", "int a; ",
                               "\tint a;", std::string(81, 'x')};
  for (const std::string& line : dirty) {
    EXPECT_THAT(CheckText(MakeFile("core/base/a.cc", line)), SizeIs(1)) << line;
  }
  EXPECT_THAT(CheckText(MakeFile("core/base/a.h", "#ifndef QUANT_B_H_\n")),
              SizeIs(1));
  EXPECT_THAT(
      CheckText(MakeFile("core/base/a.h", "#ifndef QUANT_CORE_BASE_A_H_\n")),
      IsEmpty());
  EXPECT_THAT(CheckText(MakeFile("a.bin", std::string(10485761, '\0'))),
              SizeIs(1));
}

TEST(TidyChangelog, Breaches) {
  const char* good = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- x\n";
  EXPECT_THAT(CheckChangelog(MakeFile("CHANGELOG.md", good)), IsEmpty());
  for (const char* bad : {"# Changes\n## [Unreleased]\n", "# Changelog\n",
                          "# Changelog\n## 1.0\n", "# Changelog\n## [1.0.0]\n",
                          "# Changelog\n## [Unreleased]\n### News\n"}) {
    EXPECT_THAT(CheckChangelog(MakeFile("CHANGELOG.md", bad)), SizeIs(1))
        << bad;
  }
}

}  // namespace
}  // namespace quant::tidy

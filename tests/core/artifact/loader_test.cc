// What loaders take: every row of the tables, and what refusals say.
#include "core/artifact/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "core/artifact/format.h"
#include "core/artifact/loader_tables.h"
#include "core/base/error.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

Scheme With(const char* preset, int64_t group = -1, int symmetric = -1) {
  Scheme scheme = *FindScheme(preset);
  if (group > 0) scheme.granularity = Granularity::kGroup;
  if (group == 0) scheme.granularity = Granularity::kChannel;
  if (group >= 0) scheme.group_size = group;
  if (symmetric >= 0) scheme.symmetric = symmetric == 1;
  return scheme;
}

Scheme PerTensor(const char* preset) {
  Scheme scheme = *FindScheme(preset);
  scheme.granularity = Granularity::kTensor;
  scheme.group_size = 0;
  return scheme;
}

LoaderCheck Check(absl::string_view loader, absl::string_view format) {
  const auto check = LoaderCheck::Make({.name = std::string(loader)}, format);
  EXPECT_TRUE(check.ok()) << check.status();
  return *check;
}

// All presets with all groups that can be asked for, with and without zero
// points.
std::vector<Scheme> Universe() {
  std::vector<Scheme> all;
  for (const Preset& preset : Presets()) {
    if (!preset.unavailable.empty()) continue;
    all.push_back(preset.scheme);
    if (preset.scheme.type == NumberType::kGgml || preset.scheme.is_cast()) {
      continue;
    }
    const char* name = preset.scheme.name.c_str();
    all.push_back(PerTensor(name));
    for (int64_t group : {0, 16, 32, 48, 64, 100, 128, 256, 1024}) {
      all.push_back(With(name, group));
      if (preset.scheme.type != NumberType::kInt) continue;
      all.push_back(With(name, group, 0));
      all.push_back(With(name, group, 1));
    }
  }
  return all;
}

struct Case {
  const char* loader;
  const char* format;
  Scheme scheme;
  Verdict verdict;
  const char* text = "";  // of the refusal
};

// The published table, cell by cell, in its own words: not made from the rows.
std::vector<Case> PublishedOfVllm() {
  constexpr Verdict kNo = Verdict::kNo, kPartly = Verdict::kPartly,
                    kYes = Verdict::kYes;
  const char* ct = "compressed-tensors";
  return {
      {"vllm", ct, With("W4A16"), kYes},
      {"vllm", ct, With("W8A16", 64), kYes},
      {"vllm", ct, With("W4A16", 0), kYes},
      {"vllm", ct, With("W4A16", 16), kNo, "nothing says that it does"},
      {"vllm", ct, PerTensor("W4A16"), kNo, "groups of 32, 64, 128"},
      {"vllm", ct, With("W4A16_ASYM"), kYes},
      {"vllm", ct, With("W8A16", 128, 0), kPartly},
      {"vllm", ct, With("W3A16"), kPartly},
      {"vllm", ct, With("W3A16", 128, 0), kNo, "W4A16_ASYM"},
      {"vllm", ct, With("W8A8"), kYes},
      {"vllm", ct, With("FP8_DYNAMIC"), kYes},
      {"vllm", ct, PerTensor("FP8_DYNAMIC"), kYes},
      {"vllm", ct, With("FP8_BLOCK"), kYes},
      {"vllm", ct, With("FP8A16"), kPartly},
      {"vllm", ct, With("NVFP4A16"), kYes},
      {"vllm", ct, With("MXFP4A16"), kYes},
      {"vllm", ct, With("MXFP8A16"), kPartly},
      {"vllm", "gptq", With("W4A16"), kYes},
      {"vllm", "gptq", With("W8A16"), kYes},
      {"vllm", "gptq", With("W3A16"), kNo, "PR 38288"},
      {"vllm", "gptq", With("W2A16"), kNo, "PR 38288"},
      {"vllm", "gptq_v2", With("W4A16"), kYes},
      {"vllm", "gptq_v2", With("W4A16_ASYM"), kNo,
       "scheme \"W4A16_ASYM\" in format \"awq\""},
      {"vllm", "awq", With("W4A16_ASYM"), kYes},
      {"vllm", "bitsandbytes", With("NF4"), kYes},
      {"vllm", "bitsandbytes", With("LLM_INT8"), kYes},
      {"vllm", "fp8", With("FP8_BLOCK"), kYes},
      {"vllm", "gguf", With("Q4_K_M"), kPartly},
  };
}

// The other loaders, likewise.
std::vector<Case> PublishedOfOthers() {
  constexpr Verdict kNo = Verdict::kNo, kPartly = Verdict::kPartly,
                    kYes = Verdict::kYes;
  const char* ct = "compressed-tensors";
  return {
      {"sglang", ct, With("W4A16"), kYes},
      {"sglang", ct, With("W4A16_ASYM"), kPartly},
      {"sglang", ct, With("NVFP4A16"), kPartly},
      {"sglang", ct, With("MXFP8A16"), kNo, "nothing says"},
      {"sglang", "gptq", With("W3A16"), kPartly},
      {"sglang", "gguf", With("Q4_K_M"), kYes},
      {"transformers", ct, With("W2A16", 32), kYes},
      {"transformers", ct, With("W4A16_ASYM"), kNo, "5.23.0"},
      {"transformers", ct, With("FP8_BLOCK"), kYes},
      {"transformers", "gptq", With("W3A16"), kYes},
      {"transformers", "gptq", With("W4A16_ASYM"), kNo, "gptq_v2 is taken"},
      {"transformers", "gptq", With("W4A16", 48), kNo, "groups of 16 to 1024"},
      {"transformers", "gptq_v2", With("W4A16_ASYM"), kYes},
      {"transformers", "awq", With("W4A16_ASYM"), kYes},
      {"transformers", "bitsandbytes", With("NF4_DOUBLE"), kYes},
      {"transformers", "fp8", With("FP8_BLOCK"), kYes},
      {"transformers", "fp8", PerTensor("FP8_DYNAMIC"), kNo, "FP8_BLOCK"},
      {"transformers", "gguf", With("Q8_0"), kPartly},
      {"tgi", ct, With("W8A16"), kYes},
      {"tgi", ct, With("W4A16_ASYM"), kYes},
      {"tgi", ct, With("FP8_DYNAMIC"), kYes},
      {"tgi", ct, With("FP8_BLOCK"), kNo, "format \"fp8\""},
      {"tgi", ct, With("NVFP4A16"), kNo, "it doesn't"},
      {"tgi", "gptq", With("W4A16"), kYes},
      {"tgi", "awq", With("W4A16_ASYM"), kYes},
      {"tgi", "bitsandbytes", With("NF4"), kNo, "while loading"},
      {"tgi", "fp8", With("FP8_BLOCK"), kYes},
      {"tgi", "gguf", With("Q4_K_M"), kNo, "reads no GGUF"},
      {"tensorrt-llm", ct, With("W4A16"), kNo, "integer weights are rejected"},
      {"tensorrt-llm", ct, With("W8A8"), kNo, "FP8_DYNAMIC"},
      {"tensorrt-llm", ct, With("FP8_DYNAMIC"), kYes},
      {"tensorrt-llm", ct, PerTensor("FP8_DYNAMIC"), kNo, "channel or block"},
      {"tensorrt-llm", ct, With("NVFP4A16"), kNo, "MXFP4A16"},
      {"tensorrt-llm", ct, With("MXFP4A16"), kYes},
      {"tensorrt-llm", "gptq", With("W4A16"), kNo, "legacy builder"},
      {"tensorrt-llm", "awq", With("W4A16_ASYM"), kNo, "legacy builder"},
      {"tensorrt-llm", "fp8", With("FP8_BLOCK"), kYes},
      {"onnxruntime-genai", "gptq", With("W2A16"), kYes},
      {"onnxruntime-genai", "gptq", With("W3A16"), kNo, "int2, int4, int8"},
      {"onnxruntime-genai", "gptq_v2", With("W4A16_ASYM"), kNo, "version 1"},
      {"onnxruntime-genai", "awq", With("W4A16_ASYM"), kYes},
      {"onnxruntime-genai", ct, With("W4A16"), kNo,
       "scheme \"W4A16\" in format"},
      {"llama.cpp", "gguf", With("Q4_K_M"), kYes},
      {"llama.cpp", "gguf", With("BF16"), kYes},
      {"llama.cpp", ct, With("W4A16"), kNo, "GGUF only"},
      {"llama.cpp", ct, With("W4A16"), kNo, "\"Q4_K_M\" in format \"gguf\""},
      {"llama.cpp", ct, With("W8A8"), kNo, "\"Q8_0\" in format \"gguf\""},
      {"llama.cpp", "safetensors", With("BF16"), kNo, "\"BF16\" in format"},
  };
}

TEST(Loaders, TakeWhatIsPublishedAndNoMore) {
  std::vector<Case> published = PublishedOfVllm();
  for (Case& row : PublishedOfOthers()) published.push_back(std::move(row));
  for (const Case& row : published) {
    SCOPED_TRACE(
        absl::StrCat(row.loader, " ", row.format, " ", row.scheme.name));
    const LoaderCheck check = Check(row.loader, row.format);
    EXPECT_EQ(check.Takes(row.scheme), row.verdict);
    const absl::Status status = check.CheckScheme(row.scheme);
    EXPECT_EQ(status.ok(), row.verdict != Verdict::kNo) << status;
    if (status.ok()) continue;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(GetReason(status), Reason::kUnsupported);
    EXPECT_EQ(GetField(status), "scheme");
    const std::string message(status.message());
    EXPECT_THAT(message, HasSubstr(row.text));
    EXPECT_THAT(message, HasSubstr(absl::StrCat("\"", row.loader, "\"")));
    EXPECT_THAT(message, HasSubstr(absl::StrCat("\"", row.format, "\"")));
    EXPECT_THAT(message, HasSubstr(row.scheme.name));
  }
}

// A row that nothing meets is a claim that nothing tests.
TEST(Loaders, EveryRowDecidesSomething) {
  const std::vector<Scheme> universe = Universe();
  for (const TakesRow& row : TakesRows()) {
    int decided = 0;
    for (const Scheme& scheme : universe) {
      if (!(*FindFormat(row.format))->CheckScheme(scheme).ok()) continue;
      const TakesRow* first = nullptr;
      for (const TakesRow& other : TakesRows()) {
        if (other.loader == row.loader && other.format == row.format &&
            other.kind->Has(scheme)) {
          first = &other;
          break;
        }
      }
      if (first != &row) continue;
      ++decided;
      EXPECT_EQ(Check(row.loader, row.format).Takes(scheme), row.verdict);
    }
    EXPECT_GT(decided, 0) << row.loader << " " << row.format << " "
                          << row.kind->text;
  }
}

TEST(Loaders, RowsNameWhatThereIsAndWhereItSaysSo) {
  std::set<std::string> loaders, seen;
  for (const LoaderInfo& loader : Loaders()) {
    EXPECT_TRUE(loaders.insert(std::string(loader.name)).second);
    EXPECT_FALSE(loader.state.empty());
    EXPECT_FALSE(loader.source.empty());
  }
  for (const LoaderRule& rule : LoaderRules()) {
    SCOPED_TRACE(absl::StrCat(rule.loader, " ", rule.format, " ", rule.what));
    EXPECT_TRUE(loaders.count(std::string(rule.loader)));
    EXPECT_TRUE(FindFormat(rule.format).ok());
    EXPECT_FALSE(rule.source.empty());
    if (rule.verdict == Verdict::kPartly) EXPECT_FALSE(rule.note.empty());
    EXPECT_TRUE(
        seen.insert(absl::StrCat(rule.loader, "/", rule.format, "/", rule.what))
            .second);
  }
}

TEST(Loaders, TheNearestIsTakenIndeed) {
  const std::regex form(
      "nearest that it takes is scheme \"([^\"]+)\"(?: with group size "
      "([a-z0-9]+))? in format \"([^\"]+)\"$");
  int refused = 0;
  for (const LoaderInfo& loader : Loaders()) {
    for (const FormatInfo& format : Formats()) {
      for (const Preset& preset : Presets()) {
        if (!preset.unavailable.empty()) continue;
        const absl::Status status =
            Check(loader.name, format.name).CheckScheme(preset.scheme);
        if (status.ok()) continue;
        ++refused;
        const std::string message(status.message());
        std::smatch match;
        ASSERT_TRUE(std::regex_search(message, match, form)) << message;
        const std::string group = match[2];
        const Scheme nearest =
            With(match[1].str().c_str(), group.empty()        ? -1
                                         : group == "channel" ? 0
                                                              : stoi(group));
        EXPECT_NE(Check(loader.name, match[3].str()).Takes(nearest),
                  Verdict::kNo)
            << message;
        EXPECT_TRUE((*FindFormat(match[3].str()))->CheckScheme(nearest).ok())
            << message;
      }
    }
  }
  EXPECT_GT(refused, 500);
}

TEST(Loaders, UnknownNamesAreAnsweredWithTheNearest) {
  for (const auto& [name, nearest] :
       std::map<std::string, std::string>{{"vlm", "vllm"},
                                          {"VLLM", "vllm"},
                                          {"sg-lang", "sglang"},
                                          {"llamacpp", "llama.cpp"},
                                          {"transformer", "transformers"},
                                          {"tensorrt_llm", "tensorrt-llm"}}) {
    const auto check = LoaderCheck::Make({.name = name}, "gguf");
    EXPECT_EQ(check.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(GetReason(check.status()), Reason::kUnknownName);
    EXPECT_EQ(GetField(check.status()), "loader");
    EXPECT_THAT(std::string(check.status().message()),
                HasSubstr(absl::StrCat("did you mean \"", nearest, "\"")));
  }
}

TEST(Loaders, HostileNamesAndRanksAreRefused) {
  for (const std::string& name :
       {std::string("vllm\0", 5), std::string("vllm "), std::string("*"),
        std::string("\x1b[2J"), std::string(1 << 20, 'v'),
        std::string("compressed-tensors")}) {
    const auto check = LoaderCheck::Make({.name = name}, "gguf");
    ASSERT_EQ(GetReason(check.status()), Reason::kUnknownName);
    EXPECT_LT(check.status().message().size(), 2000u);
    EXPECT_EQ(std::string(check.status().message()).find('\x1b'),
              std::string::npos);
  }
  for (int64_t ranks : {int64_t{0}, int64_t{-1}, int64_t{1025},
                        std::numeric_limits<int64_t>::min(),
                        std::numeric_limits<int64_t>::max()}) {
    const auto check =
        LoaderCheck::Make({.name = "vllm", .ranks = ranks}, "gptq");
    EXPECT_EQ(GetField(check.status()), "tensor_parallel") << ranks;
  }
  EXPECT_EQ(GetField(LoaderCheck::Make({.ranks = 2}, "gptq").status()),
            "tensor_parallel");
  const auto silent =
      LoaderCheck::Make({.name = "llama.cpp", .ranks = 2}, "gguf");
  EXPECT_THAT(std::string(silent.status().message()), HasSubstr("vllm"));
  EXPECT_EQ(GetReason(LoaderCheck::Make({.name = "vllm"}, "gptk").status()),
            Reason::kUnknownName);
}

TEST(Loaders, NobodyTakesEverything) {
  const auto check = LoaderCheck::Make({}, "gguf");
  ASSERT_TRUE(check.ok());
  for (const Scheme& scheme : Universe()) {
    EXPECT_EQ(check->Takes(scheme), Verdict::kYes);
    EXPECT_TRUE(check->CheckScheme(scheme).ok());
  }
  EXPECT_EQ(check->Mixes(), Verdict::kYes);
  EXPECT_TRUE(check->Notes(Universe()).empty());
}

TEST(Loaders, NotesComeOncePerKind) {
  const auto notes = Check("vllm", "compressed-tensors")
                         .Notes({With("W4A16"), With("W8A16"), With("W3A16"),
                                 With("W4A16", 64)});
  ASSERT_EQ(notes.size(), 3u);
  EXPECT_EQ(notes[0].verdict, Verdict::kYes);
  EXPECT_THAT(notes[0].note, HasSubstr("7.5"));
  EXPECT_EQ(notes[1].verdict, Verdict::kPartly);
  EXPECT_THAT(notes[1].note, HasSubstr("humming"));
  EXPECT_THAT(notes[2].scheme, HasSubstr("several schemes"));
  EXPECT_THAT(notes[2].note, HasSubstr("0.11"));
  EXPECT_EQ(Check("vllm", "compressed-tensors")
                .Notes({With("W4A16"), With("W4A16")})
                .size(),
            1u);
}

// docs/loaders.md between its marks, as the data has it.
std::string Tables() {
  std::string text;
  const auto cell = [](absl::string_view value) {
    return value.empty() ? std::string("-") : std::string(value);
  };
  for (const LoaderInfo& loader : Loaders()) {
    absl::StrAppend(&text, "## ", loader.name, "\n\n", loader.title,
                    ", state: ", loader.state, ". Source: ", loader.source,
                    ".\n\n| format | what | takes | note | source |\n",
                    "|---|---|---|---|---|\n");
    for (const LoaderRule& rule : LoaderRules()) {
      if (rule.loader != loader.name) continue;
      absl::StrAppend(&text, "| ", rule.format, " | ", rule.what, " | ",
                      VerdictName(rule.verdict), " | ", cell(rule.note), " | ",
                      rule.source, " |\n");
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

TEST(Loaders, TheDocumentIsTheData) {
  std::ifstream file(absl::StrCat(QUANT_SOURCE_DIR, "/docs/loaders.md"));
  std::stringstream stream;
  stream << file.rdbuf();
  const std::string document = stream.str();
  const std::string begin = "<!-- tables -->\n", end = "<!-- end -->\n";
  const size_t from = document.find(begin), to = document.find(end);
  ASSERT_NE(from, std::string::npos);
  ASSERT_NE(to, std::string::npos);
  const std::string tables =
      document.substr(from + begin.size(), to - from - begin.size());
  EXPECT_TRUE(tables == Tables())
      << "docs/loaders.md must have, between its marks:\n"
      << Tables();
}

}  // namespace
}  // namespace quant

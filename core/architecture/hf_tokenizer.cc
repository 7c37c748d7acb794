// Source of the form: the tokenizers library's tokenizer.json (formats of
// models, normalizers, pre-tokenizers, post-processors and decoders).
#include "core/architecture/hf_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/architecture/gguf_tokenizer.h"
#include "core/architecture/pre_tokenizers.h"
#include "core/architecture/spm_merges.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"

namespace quant {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kSpaceSign[] = "\u2581";
// Pieces for single bytes: all, or text that has no piece is unknown.
constexpr int64_t kBytes = 256;

bool IsSpecial(TokenType type) {
  return type == TokenType::kControl || type == TokenType::kUnknown;
}

// Loaders strip spaces behind Phi-3's special tokens, but these, when the name
// says so; see NameOf of gguf_metadata.cc.
bool StripsBehind(const DecoderConfig& config, absl::string_view token) {
  const std::string name = absl::AsciiStrToLower(config.name);
  if (!absl::StrContains(name, "phi-3") && !absl::StrContains(name, "phi3")) {
    return false;
  }
  return token != "<unk>" && token != "<s>" && token != "<|endoftext|>";
}

class Writer {
 public:
  Writer(const GgufTokenizer& tokenizer, const DecoderConfig& config)
      : in_(tokenizer), config_(config) {}

  absl::StatusOr<HfTokenizer> Write() {
    if (in_.byte_level) {
      pre_ = PreTokenizerOf(in_.pre);
      if (pre_) {
        QUANT_RETURN_IF_ERROR(WriteTokenizerJson());
      } else {
        NoteUnknownPre();
      }
    } else {
      QUANT_RETURN_IF_ERROR(WriteTokenizerJson());
      WriteSpm();
    }
    WriteConfig();
    NoteRest();
    return std::move(out_);
  }

 private:
  const std::string& text(int64_t id) const { return in_.tokens[id]; }
  int64_t count() const { return static_cast<int64_t>(in_.tokens.size()); }

  void NoteUnknownPre() {
    out_.notes.push_back(absl::StrCat(
        "no tokenizer.json: tokenizer.ggml.pre is ", QuotedName(in_.pre),
        ", and how it cuts text is not known; take the tokenizer of the "
        "original model"));
  }

  // A list of one entry per line, without brackets.
  void AppendList(const std::vector<std::string>& items, absl::string_view end,
                  std::string& out) const {
    absl::StrAppend(&out, items.empty() ? "" : "\n",
                    absl::StrJoin(items, ",\n"), items.empty() ? "" : "\n",
                    end);
  }

  absl::Status WriteTokenizerJson() {
    QUANT_ASSIGN_OR_RETURN(const std::vector<std::string> added, AddedTokens());
    QUANT_ASSIGN_OR_RETURN(const std::vector<std::string> vocab, Vocab());
    QUANT_ASSIGN_OR_RETURN(const std::vector<std::string> merges, Merges());
    std::string json =
        "{\n\"version\": \"1.0\",\n\"truncation\": null,\n"
        "\"padding\": null,\n\"added_tokens\": [";
    AppendList(added, "],\n", json);
    absl::StrAppend(&json, "\"normalizer\": ", Normalizer().dump(), ",\n",
                    "\"pre_tokenizer\": ", pre_ ? pre_->steps.dump() : "null",
                    ",\n", "\"post_processor\": ", PostProcessor().dump(),
                    ",\n", "\"decoder\": ", Decoder().dump(), ",\n\"model\": ");
    // The model's settings, without the brace that ends them.
    std::string model = Model().dump();
    model.pop_back();
    absl::StrAppend(&json, model, ",\n\"vocab\": {");
    AppendList(vocab, "},\n\"merges\": [", json);
    AppendList(merges, "]}\n}\n", json);
    out_.files.push_back({"tokenizer.json", std::move(json)});
    return absl::OkStatus();
  }

  // Tokens that are found in text before anything else is done to it.
  absl::StatusOr<std::vector<std::string>> AddedTokens() const {
    std::vector<std::string> items;
    for (int64_t id = 0; id < count(); ++id) {
      const TokenType type = in_.types[id];
      const bool found = type == TokenType::kUserDefined && !in_.IsMerged(id);
      if (!found && !IsSpecial(type)) continue;
      Json token = {{"id", id},
                    {"content", text(id)},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", type == TokenType::kControl &&
                                   StripsBehind(config_, text(id))},
                    {"normalized", false},
                    {"special", IsSpecial(type)}};
      items.push_back(token.dump());
    }
    return items;
  }

  absl::StatusOr<std::vector<std::string>> Vocab() const {
    std::vector<std::string> items;
    for (int64_t id = 0; id < count(); ++id) {
      if (in_.IsFiller(id)) continue;
      QUANT_ASSIGN_OR_RETURN(const std::string quoted, JsonQuote(text(id)));
      items.push_back(absl::StrCat(quoted, ": ", id));
    }
    return items;
  }

  absl::StatusOr<std::vector<std::string>> Merges() {
    std::vector<std::string> items;
    if (in_.byte_level) {
      for (const std::string& merge : in_.merges) {
        QUANT_ASSIGN_OR_RETURN(items.emplace_back(), JsonQuote(merge));
      }
      return items;
    }
    QUANT_ASSIGN_OR_RETURN(const std::vector<SpmMerge> merges,
                           MergesOfScores(in_));
    bool ranked = merges.size() < 2;
    for (const SpmMerge& merge : merges) {
      QUANT_ASSIGN_OR_RETURN(
          items.emplace_back(),
          JsonQuote(absl::StrCat(text(merge.left), " ", text(merge.right))));
      ranked |= in_.scores[merge.whole] != in_.scores[merges[0].whole];
    }
    if (!ranked) {
      out_.notes.push_back(
          "tokenizer.ggml.scores are all equal, so the order of merges is not "
          "known; tokenizer.json has them by id");
    }
    return items;
  }

  Json Normalizer() const {
    if (pre_) return pre_->normalizer;
    const Json replace = {{"type", "Replace"},
                          {"pattern", {{"String", " "}}},
                          {"content", kSpaceSign}};
    if (!in_.add_space_prefix) return replace;
    const Json prepend = {{"type", "Prepend"}, {"prepend", kSpaceSign}};
    return {{"type", "Sequence"},
            {"normalizers", Json::array({prepend, replace})}};
  }

  Json Decoder() const {
    if (in_.byte_level) {
      return {{"type", "ByteLevel"},
              {"add_prefix_space", false},
              {"trim_offsets", true},
              {"use_regex", true}};
    }
    Json steps =
        Json::array({Json{{"type", "Replace"},
                          {"pattern", {{"String", kSpaceSign}}},
                          {"content", " "}},
                     Json{{"type", "ByteFallback"}}, Json{{"type", "Fuse"}}});
    if (in_.add_space_prefix) {
      steps.push_back(
          {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    }
    return {{"type", "Sequence"}, {"decoders", std::move(steps)}};
  }

  Json PostProcessor() const {
    const int64_t bos = in_.add_bos ? in_.bos : -1;
    const int64_t eos = in_.add_eos ? in_.eos : -1;
    if (bos < 0 && eos < 0) return Json();
    Json special = Json::object();
    const auto append = [&](const char* sequence, int type, Json& list) {
      const auto add = [&](int64_t id) {
        if (id < 0) return;
        list.push_back(
            {{"SpecialToken", {{"id", text(id)}, {"type_id", type}}}});
        special[text(id)] = {{"id", text(id)},
                             {"ids", Json::array({id})},
                             {"tokens", Json::array({text(id)})}};
      };
      add(bos);
      list.push_back({{"Sequence", {{"id", sequence}, {"type_id", type}}}});
      add(eos);
    };
    Json single = Json::array(), pair = Json::array();
    append("A", 0, single);
    append("A", 0, pair);
    append("B", 1, pair);
    return {{"type", "TemplateProcessing"},
            {"single", std::move(single)},
            {"pair", std::move(pair)},
            {"special_tokens", std::move(special)}};
  }

  Json Model() const {
    const int64_t bytes =
        std::count(in_.types.begin(), in_.types.end(), TokenType::kByte);
    const bool unk = !in_.byte_level && in_.unk >= 0;
    return {{"type", "BPE"},
            {"dropout", Json()},
            {"unk_token", unk ? Json(text(in_.unk)) : Json()},
            {"continuing_subword_prefix", Json()},
            {"end_of_word_suffix", Json()},
            {"fuse_unk", unk},
            {"byte_fallback", !in_.byte_level && bytes == kBytes},
            {"ignore_merges", pre_ && pre_->ignore_merges}};
  }

  // SentencePiece takes one unknown piece, and no empty ones.
  void WriteSpm() {
    SpmModel model{.pieces = {},
                   .is_bpe = true,
                   .unk = in_.unk,
                   .bos = in_.bos,
                   .eos = in_.eos,
                   .pad = in_.pad,
                   .add_dummy_prefix = in_.add_space_prefix};
    bool usable = true;
    for (int64_t id = 0; id < count(); ++id) {
      usable &= !text(id).empty() &&
                (in_.types[id] == TokenType::kUnknown) == (id == in_.unk);
      model.pieces.push_back({text(id), in_.scores[id], in_.types[id]});
    }
    if (!usable || in_.unk < 0) return;
    out_.files.push_back({"tokenizer.model", SerializeSpmModel(model)});
  }

  void WriteConfig() {
    Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"}};
    const std::pair<const char*, int64_t> tokens[] = {
        {"bos_token", in_.bos},  {"eos_token", in_.eos}, {"unk_token", in_.unk},
        {"sep_token", in_.sep},  {"pad_token", in_.pad}, {"cls_token", in_.cls},
        {"mask_token", in_.mask}};
    for (const auto& [key, id] : tokens) {
      if (id >= 0) config[key] = text(id);
    }
    config["add_bos_token"] = in_.add_bos && in_.bos >= 0;
    config["add_eos_token"] = in_.add_eos && in_.eos >= 0;
    config["clean_up_tokenization_spaces"] = false;
    config["model_max_length"] = config_.context;
    AddChatTemplates(config);
    out_.files.push_back({"tokenizer_config.json", config.dump(2) + "\n"});
  }

  void AddChatTemplates(Json& config) const {
    if (in_.chat_templates.empty()) return;
    if (in_.chat_templates.size() == 1 &&
        in_.chat_templates[0].first == "default") {
      config["chat_template"] = in_.chat_templates[0].second;
      return;
    }
    Json list = Json::array();
    for (const auto& [name, text] : in_.chat_templates) {
      list.push_back({{"name", name}, {"template", text}});
    }
    config["chat_template"] = std::move(list);
  }

  void NoteRest() {
    if (pre_ && !pre_->normalizer.is_null()) {
      out_.notes.push_back(absl::StrCat(
          "tokenizer.json normalizes text, as the published tokenizers of \"",
          in_.pre, "\" do; GGUF files don't say"));
    }
    if (!in_.unread.empty()) {
      out_.notes.push_back(
          absl::StrCat("the tokenizer's files have no place "
                       "for the keys ",
                       absl::StrJoin(in_.unread, ", ")));
    }
  }

  const GgufTokenizer& in_;
  const DecoderConfig& config_;
  std::optional<PreTokenizerParts> pre_;  // of byte-level tokenizers
  HfTokenizer out_;
};

}  // namespace

absl::StatusOr<HfTokenizer> MakeHfTokenizer(absl::Span<const GgufKv> kvs,
                                            const DecoderConfig& config) {
  std::string why;
  QUANT_ASSIGN_OR_RETURN(const std::optional<GgufTokenizer> tokenizer,
                         ReadGgufTokenizer(kvs, why));
  if (!tokenizer) {
    HfTokenizer none;
    none.notes = {absl::StrCat("no tokenizer files: ", why)};
    return none;
  }
  return Writer(*tokenizer, config).Write();
}

}  // namespace quant

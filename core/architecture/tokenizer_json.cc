#include "core/architecture/tokenizer_json.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"
#include "core/container/json_tree.h"

namespace quant {
namespace {

using Json = nlohmann::json;

// Values in one entry of added_tokens.
constexpr int64_t kAddedTokenNodes = 32;
// Byte-level spelling of a space.
constexpr char kSpaceSign[] = "\u0120";

absl::Status CheckId(int64_t id, absl::string_view token) {
  if (id < kMaxTokens) return absl::OkStatus();
  return ModelMalformed(absl::StrCat("token ", QuotedName(token), " has id ",
                                     id, "; below ", kMaxTokens,
                                     " is allowed"));
}

// A "left right" merge of two parts; a space inside a part would be taken for
// the one between them.
std::string MergeOf(const std::string& left, const std::string& right) {
  return absl::StrCat(absl::StrReplaceAll(left, {{" ", kSpaceSign}}), " ",
                      absl::StrReplaceAll(right, {{" ", kSpaceSign}}));
}

class Reader final : public JsonEvents {
 public:
  explicit Reader(TokenizerJson& out) : out_(out) {}

  // After the parse.
  absl::Status Finish() {
    if (place_ != Place::kEnd) return ModelMalformed("is not a JSON object");
    if (type_.empty() && !out_.merges.empty()) type_ = "BPE";
    if (type_ != "BPE") {
      return MakeError(absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
                       absl::StrCat("the model is ", QuotedName(type_),
                                    "; tokenizers of type BPE are converted"));
    }
    if (out_.vocab.empty()) return ModelMalformed("has no vocabulary");
    return absl::OkStatus();
  }

  absl::Status Key(std::string key) override {
    switch (place_) {
      case Place::kTop:
        return TopKey(key);
      case Place::kModel:
        return ModelKey(key);
      case Place::kVocab:
        token_ = std::move(key);
        return absl::OkStatus();
      case Place::kTree:
        return tree_->Key(std::move(key));
      default:
        return Wrong("an object");
    }
  }

  absl::Status StartObject() override {
    switch (place_) {
      case Place::kDocument:
        place_ = Place::kTop;
        return absl::OkStatus();
      case Place::kModelValue:
        place_ = Place::kModel;
        return absl::OkStatus();
      case Place::kVocabValue:
        place_ = Place::kVocab;
        return absl::OkStatus();
      case Place::kAdded:
        StartTree(&added_, Place::kAdded, kAddedTokenNodes);
        return tree_->StartObject();
      case Place::kTree:
        return tree_->StartObject();
      default:
        return Wrong("an object");
    }
  }

  absl::Status EndObject() override {
    switch (place_) {
      case Place::kTop:
        place_ = Place::kEnd;
        return absl::OkStatus();
      case Place::kModel:
        place_ = Place::kTop;
        return absl::OkStatus();
      case Place::kVocab:
        place_ = Place::kModel;
        return absl::OkStatus();
      default:
        return AfterTree(tree_->EndObject());
    }
  }

  absl::Status StartArray() override {
    switch (place_) {
      case Place::kMergesValue:
        place_ = Place::kMerges;
        return absl::OkStatus();
      case Place::kMerges:
        place_ = Place::kPair;
        pair_.clear();
        return absl::OkStatus();
      case Place::kAddedValue:
        place_ = Place::kAdded;
        return absl::OkStatus();
      case Place::kVocabValue:
        return MakeError(absl::StatusCode::kInvalidArgument,
                         Reason::kUnsupported,
                         "the vocabulary is a list, as Unigram models have; "
                         "tokenizers of type BPE are converted");
      case Place::kTree:
        return tree_->StartArray();
      default:
        return Wrong("an array");
    }
  }

  absl::Status EndArray() override {
    switch (place_) {
      case Place::kMerges:
        place_ = Place::kModel;
        return absl::OkStatus();
      case Place::kPair:
        if (pair_.size() != 2) return ModelMalformed("a merge is no pair");
        place_ = Place::kMerges;
        return AddMerge(MergeOf(pair_[0], pair_[1]));
      case Place::kAdded:
        place_ = Place::kTop;
        return absl::OkStatus();
      default:
        return AfterTree(tree_->EndArray());
    }
  }

  absl::Status String(std::string value) override {
    switch (place_) {
      case Place::kMerges:
        return AddMerge(std::move(value));
      case Place::kPair:
        if (pair_.size() >= 2) return ModelMalformed("a merge is no pair");
        pair_.push_back(std::move(value));
        return absl::OkStatus();
      case Place::kTree:
        return AfterTree(tree_->String(std::move(value)));
      default:
        return Wrong("a string");
    }
  }

  absl::Status Integer(int64_t value) override {
    if (place_ == Place::kTree) return AfterTree(tree_->Integer(value));
    if (place_ != Place::kVocab) return Wrong("a number");
    QUANT_RETURN_IF_ERROR(CheckId(value, token_));
    if (static_cast<int64_t>(out_.vocab.size()) >= kMaxTokens ||
        static_cast<int64_t>(token_.size()) > kMaxTokenBytes) {
      return ModelMalformed(absl::StrCat("more than ", kMaxTokens,
                                         " tokens, or one of more than ",
                                         kMaxTokenBytes, " bytes"));
    }
    out_.vocab.push_back({std::move(token_), value});
    return absl::OkStatus();
  }

  absl::Status Null() override {
    if (place_ == Place::kTree) return AfterTree(tree_->Null());
    if (place_ == Place::kAddedValue) {
      place_ = Place::kTop;
      return absl::OkStatus();
    }
    return Wrong("null");
  }

  absl::Status Boolean(bool value) override {
    if (place_ == Place::kTree) return AfterTree(tree_->Boolean(value));
    return Wrong("true or false");
  }

  absl::Status Number(double value, absl::string_view text) override {
    if (place_ == Place::kTree) return AfterTree(tree_->Number(value, text));
    return Wrong("a number");
  }

  absl::Status Other(absl::string_view what) override { return Wrong(what); }

 private:
  // Where the next event belongs.
  enum class Place {
    kDocument,
    kTop,
    kModelValue,  // after "model"
    kModel,
    kVocabValue,
    kVocab,
    kMergesValue,
    kMerges,
    kPair,  // a merge as a list of two
    kAddedValue,
    kAdded,
    kTree,  // in a value that is kept as a tree
    kEnd,
  };

  absl::Status Wrong(absl::string_view what) const {
    return ModelMalformed(
        absl::StrCat(what, " where none belongs",
                     last_key_.empty() ? "" : ", in " + QuotedName(last_key_)));
  }

  absl::Status TopKey(const std::string& key) {
    last_key_ = key.substr(0, 60);
    if (key == "model") return Once(seen_model_, Place::kModelValue);
    if (key == "added_tokens") return Once(seen_added_, Place::kAddedValue);
    if (key == "normalizer") {
      StartTree(&out_.normalizer, Place::kTop);
    } else if (key == "pre_tokenizer") {
      StartTree(&out_.pre_tokenizer, Place::kTop);
    } else if (key == "post_processor") {
      StartTree(&out_.post_processor, Place::kTop);
    } else if (key == "decoder") {
      StartTree(&out_.decoder, Place::kTop);
    } else {
      SkipValue();
    }
    return absl::OkStatus();
  }

  absl::Status ModelKey(const std::string& key) {
    last_key_ = "model." + key.substr(0, 60);
    if (key == "vocab") return Once(seen_vocab_, Place::kVocabValue);
    if (key == "merges") return Once(seen_merges_, Place::kMergesValue);
    if (IsSetting(key)) {
      setting_ = key;
      StartTree(&value_, Place::kModel);
    } else {
      SkipValue();
    }
    return absl::OkStatus();
  }

  absl::Status Once(bool& seen, Place place) {
    if (std::exchange(seen, true)) {
      return ModelMalformed(
          absl::StrCat("the key ", QuotedName(last_key_), " stands twice"));
    }
    place_ = place;
    return absl::OkStatus();
  }

  void StartTree(Json* target, Place after, int64_t nodes = kMaxJsonNodes) {
    tree_ = std::make_unique<JsonTree>(nodes);
    target_ = target;
    after_ = after;
    place_ = Place::kTree;
  }

  // Takes the tree when it is complete.
  absl::Status AfterTree(absl::Status status) {
    if (!status.ok()) return Annotate(status, last_key_);
    if (!tree_->done()) return status;
    *target_ = tree_->Take();
    place_ = after_;
    if (target_ == &added_) return AddToken();
    if (target_ == &value_) return SetSetting();
    return status;
  }

  absl::Status AddToken() {
    if (static_cast<int64_t>(out_.added.size()) >= kMaxTokens) {
      return ModelMalformed(
          absl::StrCat("more than ", kMaxTokens, " added tokens"));
    }
    QUANT_ASSIGN_OR_RETURN(AddedToken token, ParseAddedToken(added_));
    out_.added.push_back(std::move(token));
    return absl::OkStatus();
  }

  std::string* TextOf(absl::string_view setting) {
    if (setting == "type") return &type_;
    if (setting == "unk_token") return &out_.unk_token;
    if (setting == "continuing_subword_prefix") {
      return &out_.continuing_subword_prefix;
    }
    return setting == "end_of_word_suffix" ? &out_.end_of_word_suffix : nullptr;
  }

  bool* FlagOf(absl::string_view setting) {
    if (setting == "byte_fallback") return &out_.byte_fallback;
    if (setting == "ignore_merges") return &out_.ignore_merges;
    return setting == "fuse_unk" ? &out_.fuse_unk : nullptr;
  }

  bool IsSetting(absl::string_view key) {
    return TextOf(key) != nullptr || FlagOf(key) != nullptr || key == "dropout";
  }

  absl::Status SetSetting() {
    if (value_.is_null()) return absl::OkStatus();
    if (setting_ == "dropout") {
      if (!value_.is_number()) return Wrong(value_.type_name());
      out_.has_dropout = value_.get<double>() != 0;
      return absl::OkStatus();
    }
    std::string* text = TextOf(setting_);
    if (text != nullptr ? !value_.is_string() : !value_.is_boolean()) {
      return Wrong(value_.type_name());
    }
    if (text != nullptr) {
      *text = value_.get<std::string>();
    } else {
      *FlagOf(setting_) = value_.get<bool>();
    }
    return absl::OkStatus();
  }

  absl::Status AddMerge(std::string merge) {
    const size_t space = merge.find(' ');
    if (space == 0 || space == std::string::npos || space + 1 == merge.size() ||
        merge.find(' ', space + 1) != std::string::npos) {
      return ModelMalformed(absl::StrCat("the merge ", QuotedName(merge),
                                         " is not \"left right\""));
    }
    if (static_cast<int64_t>(out_.merges.size()) >= kMaxMerges ||
        static_cast<int64_t>(merge.size()) > 2 * kMaxTokenBytes) {
      return ModelMalformed(absl::StrCat("more than ", kMaxMerges,
                                         " merges, or one of more than ",
                                         2 * kMaxTokenBytes, " bytes"));
    }
    out_.merges.push_back(std::move(merge));
    return absl::OkStatus();
  }

  TokenizerJson& out_;
  Place place_ = Place::kDocument;
  std::string last_key_;
  std::string token_;  // of the next id
  std::string type_;
  std::string setting_;            // of the model, whose value comes next
  std::vector<std::string> pair_;  // of a merge
  bool seen_model_ = false;
  bool seen_added_ = false;
  bool seen_vocab_ = false;
  bool seen_merges_ = false;
  std::unique_ptr<JsonTree> tree_;
  Json* target_ = nullptr;
  Place after_ = Place::kTop;
  Json added_, value_;
};

}  // namespace

absl::StatusOr<TokenizerJson> ParseTokenizerJson(absl::string_view text) {
  TokenizerJson out;
  Reader reader(out);
  QUANT_RETURN_IF_ERROR(ParseJsonEvents(text, reader));
  QUANT_RETURN_IF_ERROR(reader.Finish());
  return out;
}

absl::StatusOr<AddedToken> ParseAddedToken(const Json& object) {
  const auto id = object.find("id");
  if (id == object.end() || !id->is_number_integer()) {
    return ModelMalformed("an added token has no \"id\"");
  }
  return ParseAddedToken(absl::StrCat(id->get<int64_t>()), object);
}

absl::StatusOr<AddedToken> ParseAddedToken(absl::string_view id,
                                           const Json& object) {
  AddedToken token;
  if (!object.is_object() || !absl::SimpleAtoi(id, &token.id) || token.id < 0) {
    return ModelMalformed(absl::StrCat("added token ", QuotedName(id),
                                       ": is no id >= 0 with an "
                                       "object"));
  }
  const auto content = object.find("content");
  if (content == object.end() || !content->is_string()) {
    return ModelMalformed(
        absl::StrCat("added token ", token.id, ": has no \"content\""));
  }
  token.content = content->get<std::string>();
  QUANT_RETURN_IF_ERROR(CheckId(token.id, token.content));
  if (static_cast<int64_t>(token.content.size()) > kMaxTokenBytes) {
    return ModelMalformed(absl::StrCat("added token ", token.id, ": has ",
                                       token.content.size(), " bytes; at most ",
                                       kMaxTokenBytes));
  }
  const auto flag = [&](const char* key, bool absent) {
    const auto it = object.find(key);
    return it != object.end() && it->is_boolean() ? it->get<bool>() : absent;
  };
  token.special = flag("special", false);
  token.single_word = flag("single_word", false);
  token.lstrip = flag("lstrip", false);
  token.rstrip = flag("rstrip", false);
  token.normalized = flag("normalized", !token.special);
  return token;
}

}  // namespace quant

#include "core/container/json_events.h"

#include <exception>
#include <limits>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "nlohmann/json.hpp"

namespace quant {
namespace {

using Json = nlohmann::json;

// nlohmann's events to ours: counts depth, passes over unwanted values and
// remembers the first error.
class Adapter final : public nlohmann::json_sax<Json> {
 public:
  explicit Adapter(JsonEvents& events) : events_(events) {}

  const absl::Status& status() const { return status_; }

  bool null() override {
    return Scalar([&] { return events_.Null(); });
  }
  bool boolean(bool value) override {
    return Scalar([&] { return events_.Boolean(value); });
  }
  bool number_integer(number_integer_t value) override {
    return Scalar([&] {
      return events_.Number(static_cast<double>(value),
                            absl::StrCat("-", Magnitude(value)));
    });
  }
  bool number_unsigned(number_unsigned_t value) override {
    return Scalar([&] {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return events_.Number(static_cast<double>(value), absl::StrCat(value));
      }
      return events_.Integer(static_cast<int64_t>(value));
    });
  }
  bool number_float(number_float_t value, const string_t& text) override {
    return Scalar([&] { return events_.Number(value, text); });
  }
  bool string(string_t& value) override {
    return Scalar([&] { return events_.String(std::move(value)); });
  }
  bool binary(binary_t&) override { return false; }

  bool key(string_t& value) override {
    return skipped_depth_ > 0 || Keep(events_.Key(std::move(value)));
  }
  bool start_object(size_t) override {
    return Open([&] { return events_.StartObject(); });
  }
  bool end_object() override {
    return Close([&] { return events_.EndObject(); });
  }
  bool start_array(size_t) override {
    return Open([&] { return events_.StartArray(); });
  }
  bool end_array() override {
    return Close([&] { return events_.EndArray(); });
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    status_.Update(
        ModelMalformed(absl::StrCat("byte ", position, ": not JSON")));
    return false;
  }

 private:
  static uint64_t Magnitude(int64_t negative) {
    return uint64_t{0} - static_cast<uint64_t>(negative);
  }

  bool Keep(absl::Status status) {
    status_.Update(std::move(status));
    return status_.ok();
  }

  template <typename F>
  bool Scalar(const F& event) {
    if (skipped_depth_ > 0 || events_.TakeSkip()) return true;
    return Keep(event());
  }

  template <typename F>
  bool Open(const F& event) {
    if (++depth_ > kMaxJsonDepth) {
      return Keep(ModelMalformed(
          absl::StrCat("nested deeper than ", kMaxJsonDepth, " levels")));
    }
    if (skipped_depth_ > 0 || events_.TakeSkip()) {
      ++skipped_depth_;
      return true;
    }
    return Keep(event());
  }

  template <typename F>
  bool Close(const F& event) {
    --depth_;
    if (skipped_depth_ > 0) {
      --skipped_depth_;
      return true;
    }
    return Keep(event());
  }

  JsonEvents& events_;
  absl::Status status_;
  int64_t depth_ = 0;
  int64_t skipped_depth_ = 0;  // open containers inside a skipped value
};

}  // namespace

absl::Status JsonEvents::Number(double, absl::string_view text) {
  return Other(absl::StrCat("the number ", text.substr(0, 40)));
}

absl::Status JsonEvents::Boolean(bool value) {
  return Other(value ? "true" : "false");
}

bool JsonEvents::TakeSkip() { return std::exchange(skip_, false); }

absl::Status ParseJsonEvents(absl::string_view text, JsonEvents& events) {
  // The parser would take a NUL for the end of the text, and hide the rest.
  if (const size_t nul = text.find('\0'); nul != absl::string_view::npos) {
    return ModelMalformed(absl::StrCat("byte ", nul, ": not JSON"));
  }
  if (absl::StartsWith(text, "\xEF\xBB\xBF")) {
    return ModelMalformed("begins with a byte order mark; JSON has none");
  }
  Adapter adapter(events);
  try {
    const bool done =
        Json::sax_parse(text.begin(), text.end(), &adapter,
                        nlohmann::detail::input_format_t::json, true);
    if (!done && adapter.status().ok()) return ModelMalformed("not JSON");
  } catch (const std::exception& error) {
    return ModelMalformed(absl::StrCat("not JSON: ", error.what()));
  }
  return adapter.status();
}

absl::StatusOr<std::string> JsonQuote(absl::string_view text) {
  try {
    return Json(std::string(text)).dump();
  } catch (const std::exception&) {
    return InvalidSpec("a name is not UTF-8");
  }
}

std::string QuotedName(absl::string_view name) {
  constexpr size_t kShownBytes = 200;
  return absl::StrCat("\"", absl::CHexEscape(name.substr(0, kShownBytes)),
                      name.size() > kShownBytes ? "...\"" : "\"");
}

}  // namespace quant

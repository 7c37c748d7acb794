// Strict JSON as a stream of events: what a tree would lose (duplicate keys,
// number types) reaches the reader, and nothing is allocated beyond one token.
#ifndef QUANT_CORE_CONTAINER_JSON_EVENTS_H_
#define QUANT_CORE_CONTAINER_JSON_EVENTS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quant {

// One reader of one document. An error ends the parse and is its result.
class JsonEvents {
 public:
  virtual ~JsonEvents() = default;

  virtual absl::Status Key(std::string key) = 0;
  virtual absl::Status StartObject() = 0;
  virtual absl::Status EndObject() = 0;
  virtual absl::Status StartArray() = 0;
  virtual absl::Status EndArray() = 0;
  virtual absl::Status String(std::string value) = 0;
  // An integer in [0, 2^63).
  virtual absl::Status Integer(int64_t value) = 0;
  virtual absl::Status Null() = 0;
  // Any other scalar; `what` describes it ("the number 1.5", "true").
  virtual absl::Status Other(absl::string_view what) = 0;
  // For readers who tell other scalars apart. A number that is no Integer;
  // `value` is infinite where `text` is beyond a double.
  virtual absl::Status Number(double value, absl::string_view text);
  virtual absl::Status Boolean(bool value);

  // Whether the value that begins now is to be passed over; clears the wish.
  bool TakeSkip();

 protected:
  // From Key(): the value of this key is of no interest, whatever it is.
  void SkipValue() { skip_ = true; }

 private:
  bool skip_ = false;
};

// Feeds `text`, one whole JSON document, to `events`. DATA_LOSS MODEL_MALFORMED
// with the byte offset for text that is not JSON in UTF-8 (no byte order mark,
// no NUL, nothing after the value) or nests deeper than kMaxJsonDepth.
absl::Status ParseJsonEvents(absl::string_view text, JsonEvents& events);

// `text` as a JSON string, quotes included; only what must be escaped is.
// INVALID_ARGUMENT when it is not UTF-8.
absl::StatusOr<std::string> JsonQuote(absl::string_view text);

// A name from a file as messages show it: quoted, escaped and not too long.
std::string QuotedName(absl::string_view name);

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_JSON_EVENTS_H_

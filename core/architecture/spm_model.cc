#include "core/architecture/spm_model.h"

#include <bit>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// Field numbers.
constexpr uint64_t kPieces = 1;
constexpr uint64_t kTrainerSpec = 2;
constexpr uint64_t kNormalizerSpec = 3;
constexpr uint64_t kPieceText = 1;
constexpr uint64_t kPieceScore = 2;
constexpr uint64_t kPieceType = 3;
constexpr uint64_t kTrainerModelType = 3;
constexpr uint64_t kTrainerVocabSize = 4;
constexpr uint64_t kTrainerSpaceIsSuffix = 24;
constexpr uint64_t kTrainerByteFallback = 35;
constexpr uint64_t kTrainerUnk = 40;
constexpr uint64_t kTrainerBos = 41;
constexpr uint64_t kTrainerEos = 42;
constexpr uint64_t kTrainerPad = 43;
constexpr uint64_t kNormalizerName = 1;
constexpr uint64_t kNormalizerRules = 2;
constexpr uint64_t kNormalizerDummyPrefix = 3;
constexpr uint64_t kNormalizerExtraSpaces = 4;
constexpr uint64_t kNormalizerEscapes = 5;
constexpr uint64_t kModelTypeUnigram = 1;
constexpr uint64_t kModelTypeBpe = 2;
constexpr int64_t kBytes = 256;

absl::Status Broken(absl::string_view what) {
  return ModelMalformed(absl::StrCat("not a SentencePiece model: ", what));
}

// One field of a message: number and either a number or bytes.
struct Field {
  uint64_t number = 0;
  bool is_bytes = false;
  bool is_fixed32 = false;
  uint64_t value = 0;
  absl::string_view bytes;
};

class Message {
 public:
  explicit Message(absl::string_view bytes) : rest_(bytes) {}

  bool done() const { return rest_.empty(); }

  absl::StatusOr<Field> Next() {
    Field field;
    const auto tag = Varint();
    if (!tag) return Broken("a tag is cut off");
    field.number = *tag >> 3;
    switch (*tag & 7) {
      case 0: {
        const auto value = Varint();
        if (!value) return Broken("a number is cut off");
        field.value = *value;
        return field;
      }
      case 1:
        return Fixed(8, field);
      case 2: {
        const auto size = Varint();
        if (!size || *size > rest_.size()) return Broken("bytes are cut off");
        field.is_bytes = true;
        field.bytes = rest_.substr(0, *size);
        rest_.remove_prefix(*size);
        return field;
      }
      case 5:
        field.is_fixed32 = true;
        return Fixed(4, field);
      default:
        return Broken("an unknown wire type");
    }
  }

 private:
  std::optional<uint64_t> Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const uint64_t byte = static_cast<uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      value |= (byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  }

  absl::StatusOr<Field> Fixed(size_t size, Field field) {
    if (rest_.size() < size) return Broken("a number is cut off");
    for (size_t i = 0; i < size; ++i) {
      field.value |= static_cast<uint64_t>(static_cast<uint8_t>(rest_[i]))
                     << (8 * i);
    }
    rest_.remove_prefix(size);
    return field;
  }

  absl::string_view rest_;
};

// int32 fields are sign-extended to 64 bits.
int64_t Signed(uint64_t value) {
  return static_cast<int32_t>(static_cast<uint32_t>(value));
}

absl::StatusOr<SpmPiece> ParsePiece(absl::string_view bytes, size_t index) {
  SpmPiece piece;
  Message message(bytes);
  while (!message.done()) {
    QUANT_ASSIGN_OR_RETURN(const Field field, message.Next());
    if (field.number == kPieceText && field.is_bytes) {
      piece.text = std::string(field.bytes);
    } else if (field.number == kPieceScore && field.is_fixed32) {
      piece.score = std::bit_cast<float>(static_cast<uint32_t>(field.value));
    } else if (field.number == kPieceType && !field.is_bytes) {
      if (field.value < 1 || field.value > 6) {
        return Broken(absl::StrCat("piece ", index, " has type ", field.value,
                                   "; 1 to 6 are known"));
      }
      piece.type = static_cast<TokenType>(field.value);
    }
  }
  if (!std::isfinite(piece.score)) {
    return Broken(absl::StrCat("piece ", index, " has no finite score"));
  }
  if (static_cast<int64_t>(piece.text.size()) > kMaxTokenBytes ||
      !IsUtf8(piece.text)) {
    return Broken(absl::StrCat("piece ", index, " is not UTF-8 of at most ",
                               kMaxTokenBytes, " bytes"));
  }
  return piece;
}

absl::Status ParseTrainer(absl::string_view bytes, SpmModel& model) {
  Message message(bytes);
  while (!message.done()) {
    QUANT_ASSIGN_OR_RETURN(const Field field, message.Next());
    if (field.is_bytes || field.is_fixed32) continue;
    switch (field.number) {
      case kTrainerModelType:
        model.is_bpe = field.value == kModelTypeBpe;
        break;
      case kTrainerSpaceIsSuffix:
        model.space_is_suffix = field.value != 0;
        break;
      case kTrainerByteFallback:
        model.byte_fallback = field.value != 0;
        break;
      case kTrainerUnk:
        model.unk = Signed(field.value);
        break;
      case kTrainerBos:
        model.bos = Signed(field.value);
        break;
      case kTrainerEos:
        model.eos = Signed(field.value);
        break;
      case kTrainerPad:
        model.pad = Signed(field.value);
        break;
      default:
        break;
    }
  }
  return absl::OkStatus();
}

absl::Status ParseNormalizer(absl::string_view bytes, SpmModel& model) {
  Message message(bytes);
  while (!message.done()) {
    QUANT_ASSIGN_OR_RETURN(const Field field, message.Next());
    if (field.number == kNormalizerName && field.is_bytes) {
      model.normalizer = std::string(field.bytes.substr(0, 64));
    } else if (field.number == kNormalizerRules && field.is_bytes) {
      model.has_rules = !field.bytes.empty();
    } else if (field.number == kNormalizerDummyPrefix && !field.is_bytes) {
      model.add_dummy_prefix = field.value != 0;
    } else if (field.number == kNormalizerExtraSpaces && !field.is_bytes) {
      model.remove_extra_whitespaces = field.value != 0;
    } else if (field.number == kNormalizerEscapes && !field.is_bytes) {
      model.escape_whitespaces = field.value != 0;
    }
  }
  return absl::OkStatus();
}

// Bytes of the sequence that `lead` begins; 0 when it begins none.
int SequenceLength(uint8_t lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

// Appends the fields of one message.
class Builder {
 public:
  void Number(uint64_t field, int64_t value) {
    Varint(field << 3);
    Varint(static_cast<uint64_t>(value));  // negative ones take ten bytes
  }
  void Float(uint64_t field, float value) {
    Varint(field << 3 | 5);
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    for (int i = 0; i < 32; i += 8) out_ += static_cast<char>(bits >> i);
  }
  void Bytes(uint64_t field, absl::string_view bytes) {
    Varint(field << 3 | 2);
    Varint(bytes.size());
    out_.append(bytes.data(), bytes.size());
  }
  std::string Take() { return std::move(out_); }

 private:
  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) {
      out_ += static_cast<char>(value | 0x80);
    }
    out_ += static_cast<char>(value);
  }

  std::string out_;
};

std::string TrainerSpec(const SpmModel& model) {
  int64_t bytes = 0;
  for (const SpmPiece& piece : model.pieces) {
    bytes += piece.type == TokenType::kByte;
  }
  Builder spec;
  spec.Number(kTrainerModelType,
              model.is_bpe ? kModelTypeBpe : kModelTypeUnigram);
  spec.Number(kTrainerVocabSize, static_cast<int64_t>(model.pieces.size()));
  spec.Number(kTrainerByteFallback, bytes == kBytes);
  spec.Number(kTrainerUnk, model.unk);
  spec.Number(kTrainerBos, model.bos);
  spec.Number(kTrainerEos, model.eos);
  spec.Number(kTrainerPad, model.pad);
  return spec.Take();
}

}  // namespace

absl::StatusOr<SpmModel> ParseSpmModel(absl::string_view bytes) {
  SpmModel model;
  Message message(bytes);
  while (!message.done()) {
    QUANT_ASSIGN_OR_RETURN(const Field field, message.Next());
    if (!field.is_bytes) continue;
    if (field.number == kPieces) {
      const size_t index = model.pieces.size();
      if (static_cast<int64_t>(index) >= kMaxTokens) {
        return Broken(absl::StrCat("more than ", kMaxTokens, " pieces"));
      }
      QUANT_ASSIGN_OR_RETURN(SpmPiece piece, ParsePiece(field.bytes, index));
      model.pieces.push_back(std::move(piece));
    } else if (field.number == kTrainerSpec) {
      QUANT_RETURN_IF_ERROR(ParseTrainer(field.bytes, model));
    } else if (field.number == kNormalizerSpec) {
      QUANT_RETURN_IF_ERROR(ParseNormalizer(field.bytes, model));
    }
  }
  if (model.pieces.empty()) return Broken("no pieces");
  return model;
}

std::string SerializeSpmModel(const SpmModel& model) {
  Builder out;
  for (const SpmPiece& piece : model.pieces) {
    Builder field;
    field.Bytes(kPieceText, piece.text);
    field.Float(kPieceScore, piece.score);
    field.Number(kPieceType, static_cast<int64_t>(piece.type));
    out.Bytes(kPieces, field.Take());
  }
  out.Bytes(kTrainerSpec, TrainerSpec(model));
  Builder normalizer;
  normalizer.Bytes(kNormalizerName, "identity");
  normalizer.Number(kNormalizerDummyPrefix, model.add_dummy_prefix);
  normalizer.Number(kNormalizerExtraSpaces, 0);
  normalizer.Number(kNormalizerEscapes, 1);
  out.Bytes(kNormalizerSpec, normalizer.Take());
  return out.Take();
}

bool IsUtf8(absl::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const uint8_t lead = text[i];
    const int length = SequenceLength(lead);
    if (length == 0 || text.size() - i < static_cast<size_t>(length)) {
      return false;
    }
    for (int k = 1; k < length; ++k) {
      if ((static_cast<uint8_t>(text[i + k]) & 0xC0) != 0x80) return false;
    }
    // The second byte tells overlong forms, surrogates, and beyond U+10FFFF.
    const uint8_t second = length > 1 ? text[i + 1] : 0;
    if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
        (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) {
      return false;
    }
    i += length;
  }
  return true;
}

}  // namespace quant

// What a network is calibrated or evaluated on: token ids in sequences of one
// length, made of a file of texts or of ids.
//
//   *.npy          int32 or int64, [tokens] or [rows, tokens]; rows are joined
//   *.safetensors  the same in tensor "input_ids", or in the only tensor; an
//                  "attention_mask" must be all ones
//   *.jsonl        one object per line: {"text": ...}, or {"messages":
//   [{"role":
//                  ..., "content": ...}, ...]}, which become the text
//                    role ":\n" content          for each,
//                    "\n\n"                      between them
//   others         one text
//
// Every text becomes ids by itself; they are joined and cut into sequences, and
// what is left at the end is dropped. Nothing is padded, so every position of
// every sequence is a token of the data. Ids are taken as they are.
//
// The digest is the SHA-256 of "quant-ids-v1 <sequences> <length>\n" and the
// ids as int32, little-endian, one sequence after the other.
#ifndef QUANT_CORE_TOKENIZER_DATASET_H_
#define QUANT_CORE_TOKENIZER_DATASET_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/tokenizer/tokenizer.h"

namespace quant {

// Where a text's own beginning and end (Tokenizer::frame) go.
enum class BosPolicy {
  kDocument,  // around every text
  kSequence,  // the beginning token first in every sequence, nothing else
  kNone,
};

// "document", "sequence", "none"; INVALID_ARGUMENT UNKNOWN_NAME for others.
absl::StatusOr<BosPolicy> ParseBosPolicy(absl::string_view name);

struct DatasetOptions {
  int64_t sequence_length = 0;  // 2 to kMaxSequenceLength
  int64_t max_sequences = 0;    // the first ones; 0: all there are
  BosPolicy bos = BosPolicy::kDocument;
  int64_t vocabulary = 0;  // of the network; 0: not known
};

struct Dataset {
  std::vector<int32_t> ids;  // sequences * sequence_length
  int64_t sequences = 0;
  int64_t sequence_length = 0;
  // Of what was read for them: texts (0 for ids), all their ids, and how many
  // of these stand for characters that the vocabulary lacks.
  int64_t documents = 0;
  int64_t tokens = 0;
  int64_t unknown = 0;
  std::string digest;
};

// A data set, and which file it was made of.
struct DatasetFile {
  Dataset data;
  std::string name;  // without directories
  int64_t size_bytes = 0;
  std::string sha256;
  int64_t memory_bytes = 0;  // that making it took at most
};

// Whether the file holds texts, which need a tokenizer; by its name.
bool HoldsText(const std::string& path);

// `tokenizer` may be null for files of ids. INVALID_ARGUMENT, naming the file,
// when it is empty, not text (not UTF-8, NUL bytes), has less than one
// sequence, ids beyond the vocabulary, or text of which more than one token in
// a hundred is unknown.
absl::StatusOr<Dataset> LoadDataset(const std::string& path,
                                    const Tokenizer* tokenizer,
                                    const DatasetOptions& options);

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_DATASET_H_

// The fuzz targets: one function each, which takes any bytes and returns. Under
// libFuzzer each is a program (CMakeLists.txt); tests/fuzz_smoke calls them
// with the committed corpus and mutations of it.
#ifndef QUANT_TESTS_FUZZ_TARGETS_H_
#define QUANT_TESTS_FUZZ_TARGETS_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/string_view.h"

namespace quant::fuzz {

void SafetensorsHeader(absl::string_view bytes);
void GgufHeader(absl::string_view bytes);
void GgufCheckpoint(absl::string_view bytes);
void Imatrix(absl::string_view bytes);
void ModelIndex(absl::string_view bytes);
void RecipeFile(absl::string_view bytes);
void DecoderConfig(absl::string_view bytes);
void TokenizerJson(absl::string_view bytes);
void TokenizerModel(absl::string_view bytes);
void Tokenize(absl::string_view bytes);
void Gate(absl::string_view bytes);
void QuantSettings(absl::string_view bytes);
void StoredWeights(absl::string_view bytes);
void Statistics(absl::string_view bytes);
void Requests(absl::string_view bytes);

}  // namespace quant::fuzz

// What must hold for every input; a failure ends the process.
#define QUANT_FUZZ_CHECK(condition)                                        \
  do {                                                                     \
    if (!(condition)) {                                                    \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                        \
    }                                                                      \
  } while (false)

// Makes `function` the program's target when libFuzzer is linked.
#ifdef QUANT_LIBFUZZER
#define QUANT_FUZZ_TARGET(function)                                         \
  extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { \
    function({reinterpret_cast<const char*>(data), size});                  \
    return 0;                                                               \
  }
#else
#define QUANT_FUZZ_TARGET(function)
#endif

#endif  // QUANT_TESTS_FUZZ_TARGETS_H_

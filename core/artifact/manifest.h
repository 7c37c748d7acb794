// manifest.json: what an artifact is made of and where it came from. Every
// other file of the artifact is listed with its size and SHA-256.
#ifndef QUANT_CORE_ARTIFACT_MANIFEST_H_
#define QUANT_CORE_ARTIFACT_MANIFEST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace quant {

struct ManifestFile {
  std::string path;
  int64_t size_bytes = 0;
  std::string sha256;
};

// What a model was run over, see core/tokenizer/dataset.h.
struct ManifestDataset {
  std::string use = {};  // "calibration"; empty: the source is no such file
  int64_t sequences = 0;
  int64_t sequence_length = 0;
  std::string sha256 = {};  // of its ids, whatever file they came from
};

struct ManifestSource {
  std::string name;  // weight file, or another that went into the artifact
  int64_t size_bytes = 0;
  std::string header_digest;  // XXH3-128 of its header
  std::string sha256;         // empty unless the recipe asks for it
  ManifestDataset dataset = {};
};

// What the artifact's network does on the evaluation text.
struct ManifestFigure {
  std::string name;
  double value = 0;  // NaN: there was none
};

// A condition that the artifact was held to.
struct ManifestGate {
  std::string gate;  // "kl_mean <= 0.02"
  double value = 0;  // likewise
  bool passed = false;
};

// What was raised after a try that failed its gates.
struct ManifestRaise {
  std::string tensor;
  std::string from;
  std::string to;  // empty: as it is in the source
};
struct ManifestStep {
  std::vector<ManifestGate> gates;
  std::vector<ManifestRaise> raised;
};

struct Manifest {
  std::string engine_version;
  std::string recipe_json;
  std::vector<ManifestSource> sources;
  std::vector<ManifestFigure> evaluation = {};
  std::vector<ManifestGate> gates = {};
  std::vector<ManifestStep> escalation = {};  // written, not read back
  std::vector<ManifestFile> files;  // sorted by path, without the manifest
};

inline constexpr char kManifestName[] = "manifest.json";

// Deterministic text without timestamps. Its length depends on names and sizes
// only, never on digests: it is known when the artifact is planned. Figures
// have as many characters as they need: with `least_bytes` spaces make up for
// what is missing.
std::string ManifestToJson(const Manifest& manifest, int64_t least_bytes = 0);
absl::StatusOr<Manifest> ParseManifest(const std::string& text);

struct VerifyReport {
  int64_t files = 0;
  int64_t bytes = 0;
  std::vector<std::string> problems;  // empty = everything is as listed
};
// Hashes every listed file of an artifact directory and looks for files that
// are missing or not listed. NOT_FOUND when there is no manifest.
absl::StatusOr<VerifyReport> VerifyArtifact(const std::string& directory);

}  // namespace quant

#endif  // QUANT_CORE_ARTIFACT_MANIFEST_H_

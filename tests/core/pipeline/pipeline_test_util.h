// Small models on disk, and runs of the pipeline over them.
#ifndef QUANT_TESTS_CORE_PIPELINE_PIPELINE_TEST_UTIL_H_
#define QUANT_TESTS_CORE_PIPELINE_PIPELINE_TEST_UTIL_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/container/model_reader.h"
#include "core/pipeline/execute.h"
#include "core/pipeline/plan.h"

namespace quant {

// A directory of its own, removed at the end.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const {
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

struct TensorSpec {
  std::string name;
  Shape shape;
  DType dtype = DType::kBF16;
};

// Writes a Hugging Face directory with normal weights (deviation 0.02) that
// depend on the tensor's name only. The value 1 at "shards" is one file.
void WriteModel(const std::string& directory,
                const std::vector<TensorSpec>& tensors, int shards = 1,
                const std::string& config = R"({"model_type": "llama"})");

// Two layers of a Llama with these sizes, embedding, norms and lm_head.
std::vector<TensorSpec> LlamaTensors(int64_t hidden, int64_t ffn,
                                     DType dtype = DType::kBF16,
                                     int layers = 2);

// Overwrites element `index` of a tensor by these bits, or as many of them as
// its type has; wider types get zeros above.
void PatchElement(const std::string& directory, const std::string& tensor,
                  int64_t index, uint32_t bits);

OutputRequest Request(const std::string& scheme,
                      const std::string& format = "compressed-tensors");

// Opens, plans and executes; `options.pool` and `work_dir` are filled in.
absl::StatusOr<ExecuteResult> RunPipeline(const std::string& model,
                                          const PlanRequest& request,
                                          const std::string& work_dir,
                                          int threads = 2,
                                          ExecuteOptions options = {});

// The same again and again on one work directory, stopped at every new line of
// the journal, until it ends by itself. Answers how often it was stopped; fewer
// than `most` times, or it fails, as with any other error.
absl::StatusOr<int> RunWithStops(const std::string& model,
                                 const PlanRequest& request,
                                 const std::string& work_dir, int threads,
                                 int most, bool keep_states = true);

absl::StatusOr<Plan> PlanModel(const std::string& model,
                               const std::vector<OutputRequest>& outputs,
                               int threads = 2);

// Relative path -> contents, of all files below `directory`.
std::map<std::string, std::string> ReadTree(const std::string& directory);

std::string ReadAll(const std::string& path);
void WriteAll(const std::string& path, const std::string& bytes);

// The bundled model, and those of QUANT_TEST_MODELS (by default of a data
// directory beside the repository), if any.
std::vector<std::string> RealModels();

}  // namespace quant

#endif  // QUANT_TESTS_CORE_PIPELINE_PIPELINE_TEST_UTIL_H_

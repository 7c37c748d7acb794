// The files beside the weights that an artifact carries along.
#ifndef QUANT_CORE_CONTAINER_SIDE_FILES_H_
#define QUANT_CORE_CONTAINER_SIDE_FILES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/file.h"
#include "core/container/model_reader.h"

namespace quant {

// The allow-list: tokenizer, generation and processor configs, chat templates,
// model card, licence. config.json is not in it: formats rewrite it.
bool IsSideFileName(absl::string_view name);

// The side files among `entries` of the resolved directory `directory`, sorted
// by name, with resolved paths. Links are followed as far as the model's own
// folder (or its Hugging Face cache, whose snapshots link to blobs);
// FAILED_PRECONDITION SOURCE_NOT_ALLOWED for links that leave it.
// RESOURCE_EXHAUSTED MODEL_MALFORMED beyond the limits.
absl::StatusOr<std::vector<SideFile>> FindSideFiles(
    const std::string& directory, absl::Span<const DirEntry> entries);

// The resolved path of `name` in `directory`, by the same rule.
absl::StatusOr<std::string> ResolveInsideModel(const std::string& directory,
                                               absl::string_view name);

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_SIDE_FILES_H_

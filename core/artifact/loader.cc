#include "core/artifact/loader.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/artifact/format.h"
#include "core/artifact/loader_tables.h"
#include "core/base/error.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

constexpr int64_t kMaxRanks = 1024;

template <typename Row>
bool IsOf(const Row& row, absl::string_view loader, absl::string_view format) {
  return row.loader == loader && row.format == format;
}

const TakesRow* RowOf(absl::string_view loader, absl::string_view format,
                      const Scheme& scheme) {
  for (const TakesRow& row : TakesRows()) {
    if (IsOf(row, loader, format) && row.kind->Has(scheme)) return &row;
  }
  return nullptr;
}

// The modules whose inputs ranks share among each other: each has only its part
// of every row. Others are split by outputs.
bool SharesInputs(const TensorRole& role) {
  return role.role == "attention.o" || role.role == "mlp.down";
}

bool IsExpert(const TensorRole& role) {
  return absl::StrContains(role.module, ".experts.") ||
         absl::EndsWith(role.module, "_exps");
}

bool IsPart(const TensorRole& role, LoadedPart part) {
  switch (part) {
    case LoadedPart::kExpert:
      return IsExpert(role);
    case LoadedPart::kLmHead:
      return role.module_class == ModuleClass::kLmHead;
    case LoadedPart::kEmbedding:
      return role.module_class == ModuleClass::kEmbedding;
  }
  return false;
}

std::string ShapeText(int64_t size, int64_t multiple, const ShapeRow& row,
                      const LoaderInfo& loader) {
  return absl::StrCat(
      size, " % ", multiple, " != 0: loader \"", loader.name, "\" takes ",
      row.axis == LoadedAxis::kInputs ? "inputs" : "outputs of a module",
      " in multiples of ", multiple, " only (", row.note, ")");
}

}  // namespace

absl::StatusOr<const LoaderInfo*> FindLoader(absl::string_view name) {
  std::vector<std::string> known;
  for (const LoaderInfo& loader : Loaders()) {
    if (loader.name == name) return &loader;
    known.emplace_back(loader.name);
  }
  return UnknownNameError("loader", name, known, "loader");
}

absl::StatusOr<LoaderCheck> LoaderCheck::Make(const LoaderTarget& target,
                                              absl::string_view format) {
  if (target.ranks < 1 || target.ranks > kMaxRanks) {
    return InvalidSpec(
        absl::StrCat(target.ranks, " ranks; 1 to ", kMaxRanks, " are allowed"),
        "tensor_parallel");
  }
  const LoaderInfo* loader = nullptr;
  if (!target.name.empty()) {
    QUANT_ASSIGN_OR_RETURN(loader, FindLoader(target.name));
  }
  if (target.ranks > 1 && (loader == nullptr || !loader->knows_ranks)) {
    std::vector<absl::string_view> able;
    for (const LoaderInfo& other : Loaders()) {
      if (other.knows_ranks) able.push_back(other.name);
    }
    return InvalidSpec(
        absl::StrCat(target.ranks, " ranks: ",
                     loader == nullptr
                         ? "a loader is needed to know what they ask for"
                         : absl::StrCat("nothing is known of what loader \"",
                                        loader->name, "\" asks of them"),
                     "; allowed with: ", absl::StrJoin(able, ", ")),
        "tensor_parallel");
  }
  QUANT_RETURN_IF_ERROR(FindFormat(format).status());
  for (const FormatInfo& known : Formats()) {
    if (known.name == format) format = known.name;  // lives on
  }
  return LoaderCheck(loader, target.ranks, format);
}

Verdict LoaderCheck::Takes(const Scheme& scheme) const {
  if (loader_ == nullptr) return Verdict::kYes;
  const TakesRow* row = RowOf(loader_->name, format_, scheme);
  return row == nullptr ? Verdict::kNo : row->verdict;
}

std::string LoaderCheck::Taken() const {
  std::vector<absl::string_view> kinds;
  for (const TakesRow& row : TakesRows()) {
    if (!IsOf(row, loader_->name, format_)) continue;
    if (row.verdict != Verdict::kNo) kinds.push_back(row.kind->text);
  }
  return kinds.empty() ? absl::StrCat("it takes nothing in this format")
                       : absl::StrCat("in this format it takes ",
                                      absl::StrJoin(kinds, "; "));
}

// Why not, and what instead. Without the nearest: that takes milliseconds to
// find, and a model has many tensors.
std::string LoaderCheck::Refusal(const Scheme& scheme) const {
  const TakesRow* row = RowOf(loader_->name, format_, scheme);
  const bool explained = row != nullptr && !row->note.empty();
  const std::string why =
      explained ? absl::StrCat(row->note, " (", row->source, ")")
      : row != nullptr
          ? absl::StrCat("it doesn't (", row->source, ")")
          : absl::StrCat("nothing says that it does (state: ", loader_->state,
                         ")");
  return absl::StrCat("loader \"", loader_->name, "\" won't take scheme \"",
                      scheme.name, "\" (", DescribeScheme(scheme),
                      ") in format \"", format_, "\": ", why, "; ", Taken());
}

absl::Status LoaderCheck::CheckScheme(const Scheme& scheme) const {
  if (Takes(scheme) != Verdict::kNo) return absl::OkStatus();
  const std::string nearest = Nearest(scheme);
  return MakeError(
      absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
      absl::StrCat(Refusal(scheme),
                   nearest.empty() ? "" : "; the nearest that it takes is ",
                   nearest),
      "scheme");
}

std::string LoaderCheck::Misfit(const LoadedTensor& tensor) const {
  if (loader_ == nullptr) return "";
  if (Takes(*tensor.scheme) == Verdict::kNo) {
    return Refusal(*tensor.scheme);
  }
  if (tensor.scheme->is_cast()) return "";
  std::string misfit = PartMisfit(tensor);
  return misfit.empty() ? ShapeMisfit(tensor) : misfit;
}

std::string LoaderCheck::PartMisfit(const LoadedTensor& tensor) const {
  const TensorRole& role = *tensor.role;
  const PartRow* found = nullptr;
  for (const PartRow& row : PartRows()) {
    if (found == nullptr && IsOf(row, loader_->name, format_) &&
        IsPart(role, row.part) && row.kind->Has(*tensor.scheme)) {
      found = &row;
    }
  }
  if (found != nullptr && found->verdict != Verdict::kNo) return "";
  if (found == nullptr && role.module_class == ModuleClass::kLinear) return "";
  const std::string what = absl::StrCat(
      "loader \"", loader_->name, "\" won't take this ",
      IsExpert(role) ? "expert's weight" : role.role, " as ",
      DescribeScheme(*tensor.scheme), " in format \"", format_, "\": ");
  if (found == nullptr) {
    return absl::StrCat(what,
                        "nothing says that it does (state: ", loader_->state,
                        "); the nearest is to leave it as it is");
  }
  Scheme symmetric = *tensor.scheme;
  symmetric.symmetric = true;
  const bool mends =
      !tensor.scheme->symmetric && Takes(symmetric) != Verdict::kNo;
  return absl::StrCat(
      what, found->note, " (", found->source,
      "); the nearest that it takes is ",
      mends ? DescribeScheme(symmetric) : "to leave it as it is");
}

std::string LoaderCheck::ShapeMisfit(const LoadedTensor& tensor) const {
  if (tensor.shape.size() < 2) return "";
  int64_t inputs = tensor.shape.back();
  if (ranks_ > 1 && SharesInputs(*tensor.role)) {
    const Scheme& scheme = *tensor.scheme;
    const int64_t part = scheme.granularity == Granularity::kGroup
                             ? ranks_ * scheme.group_size
                             : ranks_;
    if (inputs % part != 0) {
      return absl::StrCat(inputs, " % ", part, " != 0: ", ranks_,
                          " ranks share the inputs of ", tensor.role->role,
                          part == ranks_ ? "" : " in whole groups");
    }
    inputs /= ranks_;
  }
  for (const ShapeRow& row : ShapeRows()) {
    if (!IsOf(row, loader_->name, format_) || !row.kind->Has(*tensor.scheme)) {
      continue;
    }
    const int64_t size =
        row.axis == LoadedAxis::kInputs ? inputs : tensor.module_outputs;
    if (size % row.multiple != 0) {
      return ShapeText(size, row.multiple, row, *loader_);
    }
  }
  return "";
}

Verdict LoaderCheck::Mixes(std::string* why) const {
  if (loader_ == nullptr) return Verdict::kYes;
  for (const MixesRow& row : MixesRows()) {
    if (!IsOf(row, loader_->name, format_)) continue;
    if (why != nullptr) *why = absl::StrCat(row.note, " (", row.source, ")");
    return row.verdict;
  }
  if (why != nullptr) {
    *why =
        absl::StrCat("nothing says that it does (state: ", loader_->state, ")");
  }
  return Verdict::kNo;
}

std::vector<LoaderNote> LoaderCheck::Notes(
    const std::vector<Scheme>& schemes) const {
  std::vector<LoaderNote> notes;
  if (loader_ == nullptr) return notes;
  std::vector<const TakesRow*> seen;
  for (const Scheme& scheme : schemes) {
    const TakesRow* row = RowOf(loader_->name, format_, scheme);
    if (row == nullptr) continue;
    if (std::find(seen.begin(), seen.end(), row) != seen.end()) continue;
    seen.push_back(row);
    notes.push_back({.scheme = std::string(row->kind->text),
                     .verdict = row->verdict,
                     .note = std::string(row->note),
                     .source = std::string(row->source)});
  }
  const bool several =
      std::any_of(schemes.begin(), schemes.end(), [&](const Scheme& scheme) {
        return scheme.bits != schemes[0].bits ||
               DescribeScheme(scheme) != DescribeScheme(schemes[0]);
      });
  for (const MixesRow& row : MixesRows()) {
    if (!several || !IsOf(row, loader_->name, format_)) continue;
    if (row.note.empty()) continue;
    notes.push_back({.scheme = "several schemes in one checkpoint",
                     .verdict = row.verdict,
                     .note = std::string(row.note),
                     .source = std::string(row.source)});
  }
  return notes;
}

}  // namespace quant

#include "core/pipeline/candidates.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// The best block types of each size, for rows of whole superblocks (256) and
// for other rows. What is absent is larger and worse than one of these.
constexpr const char* kBlockTypes[] = {"Q2_K", "Q3_K",   "IQ4_XS", "Q4_K",
                                       "Q5_K", "Q6_K",   "Q8_0",   "Q4_0",
                                       "Q4_1", "IQ4_NL", "Q5_0",   "Q5_1"};

// A preset of the same numbers where there is one: its name is known.
std::string NameOf(const Scheme& scheme) {
  const std::string plain = absl::StrCat("W", scheme.bits, "A16");
  const std::string full = scheme.symmetric ? plain : plain + "_ASYM";
  return FindScheme(full).ok() ? full : plain;
}

bool Fits(const ArtifactFormat& format, const Scheme& scheme,
          const Shape& shape, bool last_of_fused) {
  const int64_t columns = shape.empty() ? 1 : shape.back();
  if (scheme.has_inner_scales() &&
      columns % InfoOf(scheme.ggml).block_elems != 0) {
    return false;
  }
  if (shape.size() != 2 && !format.TakesStacks()) return true;
  return format.ShapeMisfit(scheme, shape, last_of_fused).empty();
}

class ItemMaker {
 public:
  ItemMaker(const CandidateRequest& request,
            const std::vector<Decision>& decisions)
      : model_(*request.model),
        roles_(*request.roles),
        format_(*request.format),
        loader_(request.loader),
        decisions_(decisions) {}

  absl::StatusOr<std::vector<AllocationItem>> Run() {
    const int count = static_cast<int>(decisions_.size());
    for (int i = 0; i < count; ++i) {
      if (roles_[i].is_matrix) matrices_[roles_[i].module] = i;
    }
    std::vector<AllocationItem> items;
    for (int i = 0; i < count; ++i) {
      if (!decisions_[i].quantized || !decisions_[i].by_default) continue;
      AllocationItem item;
      item.tensors = TensorsWith(i);
      if (item.tensors.front() != i) continue;  // made with its first part
      QUANT_RETURN_IF_ERROR(AddCandidates(item));
      items.push_back(std::move(item));
    }
    return items;
  }

 private:
  std::vector<int> TensorsWith(int index) const {
    if (!roles_[index].is_matrix) return {index};
    std::vector<int> tensors;
    for (const std::string& module : FusedWith(roles_[index].module)) {
      const auto it = matrices_.find(module);
      if (it == matrices_.end()) continue;
      if (decisions_[it->second].by_default) tensors.push_back(it->second);
    }
    return tensors;
  }

  // The members of the family that the loader is known to take as well as the
  // scheme itself.
  std::vector<Scheme> Offered(const Scheme& scheme) const {
    if (loader_.Mixes() == Verdict::kNo) return {scheme};
    std::vector<Scheme> offered;
    for (Scheme& member : FamilyOf(scheme)) {
      if (loader_.Takes(member) == Verdict::kNo) continue;
      if (loader_.Takes(member) < loader_.Takes(scheme)) continue;
      offered.push_back(std::move(member));
    }
    return offered;
  }

  bool LoaderTakes(const AllocationItem& item, const Scheme& scheme) const {
    int64_t outputs = 0;
    for (int index : item.tensors) {
      const Shape& shape = model_.tensors()[index].shape;
      if (shape.size() >= 2) outputs += shape[shape.size() - 2];
    }
    for (int index : item.tensors) {
      const LoadedTensor tensor{.role = &roles_[index],
                                .scheme = &scheme,
                                .shape = model_.tensors()[index].shape,
                                .module_outputs = outputs};
      if (!loader_.Misfit(tensor).empty()) return false;
    }
    return true;
  }

  absl::Status AddCandidates(AllocationItem& item) const {
    for (const Scheme& scheme :
         Offered(decisions_[item.tensors.front()].scheme)) {
      if (!format_.CheckScheme(scheme).ok()) continue;
      if (!LoaderTakes(item, scheme)) continue;
      QUANT_ASSIGN_OR_RETURN(const auto codec, MakeCodec(scheme));
      Candidate candidate{.scheme = scheme};
      bool fits = true;
      for (int index : item.tensors) {
        const TensorEntry& source = model_.tensors()[index];
        fits = fits && Fits(format_, scheme, source.shape,
                            index == item.tensors.back());
        if (!fits) break;
        for (const OutputTensor& output : format_.Outputs(*codec, source)) {
          candidate.bytes += output.bytes;
        }
      }
      if (fits) item.candidates.push_back(std::move(candidate));
    }
    Candidate as_it_is;
    for (int index : item.tensors) {
      as_it_is.bytes += model_.tensors()[index].bytes;
    }
    item.candidates.push_back(std::move(as_it_is));
    return absl::OkStatus();
  }

  const ModelReader& model_;
  const std::vector<TensorRole>& roles_;
  const ArtifactFormat& format_;
  const LoaderCheck loader_;
  const std::vector<Decision>& decisions_;
  std::map<std::string, int> matrices_;
};

}  // namespace

std::vector<Scheme> FamilyOf(const Scheme& scheme) {
  std::vector<Scheme> family;
  if (scheme.type == NumberType::kInt &&
      scheme.activations == Activations::kNone) {
    for (int bits = 2; bits <= 8; ++bits) {
      Scheme& member = family.emplace_back(scheme);
      member.bits = bits;
      member.name = NameOf(member);
    }
  } else if (scheme.type == NumberType::kGgml) {
    for (const char* name : kBlockTypes) {
      const auto member = FindScheme(name);
      if (member.ok() && MakeCodec(*member).ok()) family.push_back(*member);
    }
  } else {
    family.push_back(scheme);
  }
  return family;
}

absl::StatusOr<std::vector<AllocationItem>> OpenItems(
    const CandidateRequest& request, const std::vector<Decision>& decisions) {
  return ItemMaker(request, decisions).Run();
}

}  // namespace quant

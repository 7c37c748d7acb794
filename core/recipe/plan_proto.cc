// recipe.h: plans as protos.
#include "core/recipe/recipe.h"

namespace quant {
namespace {

void FillTensor(const ModelReader& model, const OutputPlan& output,
                const TensorPlan& tensor, v1::TensorPlan& out) {
  const TensorEntry& source = model.tensors()[tensor.source];
  out.set_name(source.name);
  for (int64_t dimension : source.shape) out.add_shape(dimension);
  out.set_dtype(std::string(TypeName(source)));
  out.set_role(tensor.role);
  if (tensor.quantized) {
    out.set_scheme(tensor.scheme.name);
    out.set_method(tensor.method);
  }
  out.set_reason(tensor.reason);
  out.set_output_bytes(tensor.output_bytes);
  for (const OutputTensor& planned : tensor.outputs) {
    v1::PlannedTensor& item = *out.add_outputs();
    item.set_name(planned.name);
    item.set_dtype(std::string(planned.block_type
                                   ? InfoOf(*planned.block_type).name
                                   : DTypeName(planned.dtype)));
    for (int64_t dimension : planned.shape) item.add_shape(dimension);
    item.set_file(output.layout.files[planned.file].path);
  }
}

void FillLoader(const OutputPlan& output, v1::OutputPlan& out) {
  out.set_loader(output.request.loader.name);
  for (const LoaderNote& note : output.loader_notes) {
    v1::LoaderNote& item = *out.add_loader_notes();
    item.set_schemes(note.scheme);
    item.set_verdict(std::string(VerdictName(note.verdict)));
    item.set_note(note.note);
    item.set_source(note.source);
  }
}

}  // namespace

v1::JobPlan PlanToProto(const ModelReader& source, const Plan& plan) {
  const ModelReader& model = ViewedModel(source, plan);
  v1::JobPlan proto;
  for (const OutputPlan& output : plan.outputs) {
    v1::OutputPlan& out = *proto.add_outputs();
    out.set_name(output.request.name);
    for (const PlannedFile& file : output.files) {
      v1::PlannedFile& item = *out.add_files();
      item.set_path(file.path);
      item.set_size_bytes(file.size_bytes);
    }
    out.set_total_bytes(output.total_bytes);
    out.set_bits_per_weight(output.bits_per_weight);
    for (const SizeChoice& choice : output.frontier) {
      v1::SizeChoice& item = *out.add_frontier();
      item.set_total_bytes(choice.total_bytes);
      item.set_bits_per_weight(choice.bits_per_weight);
      item.set_relative_error(choice.relative_error);
      item.set_planned(choice.planned);
    }
    for (const TensorPlan& tensor : output.tensors) {
      FillTensor(model, output, tensor, *out.add_tensors());
    }
    FillLoader(output, out);
  }
  for (const DroppedTensor& dropped : plan.dropped) {
    v1::DroppedTensor& item = *proto.add_dropped();
    item.set_name(dropped.name);
    item.set_reason(dropped.reason);
  }
  for (const std::string& note : plan.notes) proto.add_notes(note);
  proto.set_memory_bound_bytes(plan.memory_bound_bytes);
  proto.set_disk_bound_bytes(plan.disk_bound_bytes);
  proto.set_source_bytes(plan.source_bytes);
  proto.set_fingerprint(plan.fingerprint);
  return proto;
}

}  // namespace quant

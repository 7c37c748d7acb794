#include "core/recipe/sources.h"

namespace quant {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

void Collect(const Message& message, std::vector<const v1::Source*>& out) {
  if (message.GetDescriptor() == v1::Source::descriptor()) {
    out.push_back(static_cast<const v1::Source*>(&message));
    return;
  }
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      Collect(reflection.GetMessage(message, field), out);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      Collect(reflection.GetRepeatedMessage(message, field, i), out);
    }
  }
}

}  // namespace

std::vector<const v1::Source*> SourcesIn(const Message& message) {
  std::vector<const v1::Source*> out;
  Collect(message, out);
  return out;
}

}  // namespace quant

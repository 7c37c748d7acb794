#include "server/config/schema.h"

#include "google/protobuf/descriptor.h"
#include "quant/server/v1/config.pb.h"

namespace quant {
namespace {

const google::protobuf::Descriptor& Message() {
  return *server::v1::ServerConfig::descriptor();
}

}  // namespace

std::optional<SettingSchema> FindSettingSchema(const std::string& name) {
  for (int i = 0; i < Message().field_count(); ++i) {
    const google::protobuf::FieldDescriptor& field = *Message().field(i);
    if (field.json_name() != name) continue;
    return SettingSchema{
        .list = field.is_repeated(),
        .reloadable = field.options().GetExtension(server::v1::reloadable)};
  }
  return std::nullopt;
}

std::vector<std::string> SettingNames() {
  std::vector<std::string> names;
  for (int i = 0; i < Message().field_count(); ++i) {
    names.push_back(Message().field(i)->json_name());
  }
  return names;
}

}  // namespace quant

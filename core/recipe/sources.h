// The sources that a message names.
#ifndef QUANT_CORE_RECIPE_SOURCES_H_
#define QUANT_CORE_RECIPE_SOURCES_H_

#include <vector>

#include "google/protobuf/message.h"
#include "quant/v1/job.pb.h"

namespace quant {

// Every quant.v1.Source anywhere in `message`, found by its type, so that one
// in a field of tomorrow is there too. They live as long as the message. The
// depth of a parsed message is bounded by protobuf.
std::vector<const v1::Source*> SourcesIn(
    const google::protobuf::Message& message);

}  // namespace quant

#endif  // QUANT_CORE_RECIPE_SOURCES_H_

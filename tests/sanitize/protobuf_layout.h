// Included first in every file of a ThreadSanitizer build: protobuf's
// MapFieldBase has two members more where __SANITIZE_THREAD__ is defined, and
// libprotobuf was built without it. So its header is read without that macro,
// and maps have the size that the library gave them.
#ifndef QUANT_TESTS_SANITIZE_PROTOBUF_LAYOUT_H_
#define QUANT_TESTS_SANITIZE_PROTOBUF_LAYOUT_H_

#if defined(__cplusplus) && defined(__SANITIZE_THREAD__)
#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <vector>

// What map_field.h includes and what of it knows of sanitizers itself.
#include <google/protobuf/arena.h>
#include <google/protobuf/generated_message_reflection.h>
#include <google/protobuf/message.h>

#pragma push_macro("__SANITIZE_THREAD__")
#undef __SANITIZE_THREAD__
#include <google/protobuf/map_field.h>
#pragma pop_macro("__SANITIZE_THREAD__")
#endif

#endif  // QUANT_TESTS_SANITIZE_PROTOBUF_LAYOUT_H_

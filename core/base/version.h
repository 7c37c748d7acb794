// The engine's version. Artifacts of one version are bit-reproducible; raise it
// whenever bytes change.
#ifndef QUANT_CORE_BASE_VERSION_H_
#define QUANT_CORE_BASE_VERSION_H_

namespace quant {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace quant

#endif  // QUANT_CORE_BASE_VERSION_H_

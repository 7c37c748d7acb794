option(QUANT_BUILD_TESTS "Build the tests" ON)
option(QUANT_BUILD_BENCH "Build the benchmarks" OFF)
option(QUANT_BUILD_FUZZ "Build the fuzzers (clang)" OFF)
option(QUANT_WARNINGS_AS_ERRORS "Warnings are errors" OFF)
set(QUANT_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined or thread")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

# Codes must not depend on the compiler's mood: a fused multiply-add rounds
# once where the written expression rounds twice.
add_compile_options(-ffp-contract=off)

if(QUANT_SANITIZE)
  add_compile_options(-fsanitize=${QUANT_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${QUANT_SANITIZE})
endif()
if(QUANT_SANITIZE STREQUAL "thread")
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:SHELL:-include \
${PROJECT_SOURCE_DIR}/tests/sanitize/protobuf_layout.h>")
endif()

find_program(QUANT_CCACHE ccache)
if(QUANT_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${QUANT_CCACHE})
endif()
find_program(QUANT_MOLD mold)
if(QUANT_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

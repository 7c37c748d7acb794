# Installs the project into a fresh prefix, builds examples/client against it
# as a stranger would, and runs what came out.
#   cmake -DBUILD=... -DSOURCE=... -DWORK=... -DCONFIG=... -P find_package_test.cmake
set(prefix ${WORK}/prefix)
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})

function(run)
  execute_process(COMMAND ${ARGV} OUTPUT_VARIABLE out ERROR_VARIABLE out
                  RESULT_VARIABLE rc)
  if(NOT rc EQUAL 0)
    message(FATAL_ERROR "failed with ${rc}: ${ARGV}\n${out}")
  endif()
endfunction()

# `text` must be in what the command says; it must end with `code`.
function(expect code text)
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE out ERROR_VARIABLE out
                  RESULT_VARIABLE rc)
  if(NOT rc EQUAL ${code} OR NOT out MATCHES "${text}")
    message(FATAL_ERROR "want ${code} and \"${text}\", got ${rc}: ${ARGN}\n${out}")
  endif()
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})
run(${CMAKE_COMMAND} -S ${SOURCE}/examples/client -B ${WORK}/example -G Ninja
    -DCMAKE_BUILD_TYPE=${CONFIG} -DCMAKE_PREFIX_PATH=${prefix}
    "-DCMAKE_CXX_FLAGS=${FLAGS}")
run(${CMAKE_COMMAND} --build ${WORK}/example)

expect(1 "HOST:PORT MODEL DIR" ${WORK}/example/quantize_remote)
expect(0 "quantctl [0-9]+\\.[0-9]+\\.[0-9]+" ${prefix}/bin/quantctl version)
expect(0 "--data-dir" ${prefix}/bin/quantd --help)
# Nobody listens on port 1: a clear error, not a crash and not a hang.
expect(9 "server 127.0.0.1:1: " ${prefix}/bin/quantctl health --server 127.0.0.1:1)
file(REMOVE_RECURSE ${WORK})

# What `cmake --install` puts where:
#   bin/             quantd, quantctl (installed where they are defined)
#   lib/             static libraries of the core and of the client
#   include/quant/   their headers, and those made from the protos; one folder
#                    of its own, so that "google/rpc/..." never shadows others
#   lib/cmake/quant/ the package: find_package(quant), targets quant::client
#                    and quant::core
#   share/quant/proto/  the API, for clients in other languages
#   share/quant/ci/     the script that CI templates run
#   share/man/, share/*/*completion*  the manual (manual.cmake)
set(quant_include ${CMAKE_INSTALL_INCLUDEDIR}/quant)
set(quant_package ${CMAKE_INSTALL_LIBDIR}/cmake/quant)

# Rooms that are installed under a name of their own; the two that users link
# come last.
set(quant_exports proto proto_grpc)
foreach(room base tensor kernels container codec architecture method transform
             tokenizer network artifact calibrate evaluate pipeline recipe)
  list(APPEND quant_exports core_${room})
endforeach()
foreach(name ${quant_exports})
  set_target_properties(quant_${name} PROPERTIES EXPORT_NAME ${name})
endforeach()
set_target_properties(quant_client_library PROPERTIES EXPORT_NAME client)
set_target_properties(quant_core PROPERTIES EXPORT_NAME core)
list(TRANSFORM quant_exports PREPEND quant_)
list(APPEND quant_exports quant_client_library quant_core)

foreach(target ${quant_exports})
  target_include_directories(${target} INTERFACE $<INSTALL_INTERFACE:${quant_include}>)
  target_compile_features(${target} INTERFACE cxx_std_20)
endforeach()

install(TARGETS ${quant_exports} EXPORT quant
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT quant FILE quantTargets.cmake NAMESPACE quant::
        DESTINATION ${quant_package})

install(FILES client/library/client.h client/library/download.h
              client/library/errors.h client/library/transfer.h
              client/library/upload.h client/library/watch.h
        DESTINATION ${quant_include}/client/library)
install(DIRECTORY core DESTINATION ${quant_include}
        FILES_MATCHING PATTERN "*.h" PATTERN "*-inl.h" EXCLUDE)
install(DIRECTORY ${PROJECT_BINARY_DIR}/proto/ DESTINATION ${quant_include}
        FILES_MATCHING PATTERN "*.pb.h"
        PATTERN "CMakeFiles" EXCLUDE PATTERN "worker" EXCLUDE)
install(DIRECTORY proto/ DESTINATION ${CMAKE_INSTALL_DATADIR}/quant/proto
        COMPONENT runtime
        FILES_MATCHING PATTERN "*.proto" PATTERN "worker" EXCLUDE)

install(PROGRAMS deploy/ci/quantize.sh
        DESTINATION ${CMAKE_INSTALL_DATADIR}/quant/ci COMPONENT runtime)

configure_package_config_file(cmake/quantConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/quantConfig.cmake
                              INSTALL_DESTINATION ${quant_package})
# The API may change with every minor version until 1.0.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/quantConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/quantConfig.cmake
              ${PROJECT_BINARY_DIR}/quantConfigVersion.cmake
        DESTINATION ${quant_package})

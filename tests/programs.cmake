# Tests that run the programs themselves.
if(TARGET quantd)
  quant_test(integration DEPS quant_proto_grpc quant_core_base)
  add_dependencies(test_integration quantd gen_model)
  target_compile_definitions(test_integration PRIVATE
    QUANT_QUANTD="$<TARGET_FILE:quantd>" QUANT_GEN_MODEL="$<TARGET_FILE:gen_model>")

  add_test(NAME integration.grpcurl
           COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/integration/grpcurl_test.sh
                   $<TARGET_FILE:quantd> ${PROJECT_SOURCE_DIR}/examples
                   ${PROJECT_SOURCE_DIR}/build/tools)
  set_tests_properties(integration.grpcurl PROPERTIES TIMEOUT 600)
endif()

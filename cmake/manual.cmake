# Man pages and completions say what the programs say, because they are made by
# running them.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(quant_manual ${PROJECT_BINARY_DIR}/manual)
set(quant_manual_script ${PROJECT_SOURCE_DIR}/scripts/manual.py)

add_custom_command(
  OUTPUT ${quant_manual}/made
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${quant_manual}
  COMMAND ${Python3_EXECUTABLE} -B ${quant_manual_script} $<TARGET_FILE:quantctl>
          $<TARGET_FILE:quantd> ${quant_manual}
  COMMAND ${CMAKE_COMMAND} -E touch ${quant_manual}/made
  DEPENDS quantctl quantd ${quant_manual_script}
  COMMENT "Man pages and completions" VERBATIM)
add_custom_target(manual ALL DEPENDS ${quant_manual}/made)

install(DIRECTORY ${quant_manual}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}
        COMPONENT runtime)
install(FILES ${quant_manual}/completions/quantctl
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
        COMPONENT runtime)
install(FILES ${quant_manual}/completions/_quantctl
        DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions
        COMPONENT runtime)
install(FILES ${quant_manual}/completions/quantctl.fish
        DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d
        COMPONENT runtime)

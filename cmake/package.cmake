# `cpack -G DEB`: the Debian package quantd, both programs and what belongs to
# them. The libraries of the installation (install.cmake) are not in it.
#   component runtime  what an installation under any prefix has
#   component debian   what only the package has; its paths are fixed
set(quant_debian ${PROJECT_SOURCE_DIR}/deploy/debian)
set(quant_packed ${PROJECT_BINARY_DIR}/package)

function(quant_debian_file file folder)
  cmake_parse_arguments(ARG "" "RENAME" "" ${ARGN})
  install(FILES ${file} DESTINATION ${folder} RENAME ${ARG_RENAME}
          COMPONENT debian EXCLUDE_FROM_ALL)
endfunction()

# Documents are packed as Debian asks for it.
configure_file(${quant_debian}/changelog.in ${quant_packed}/changelog @ONLY)
add_custom_command(
  OUTPUT ${quant_packed}/changelog.gz ${quant_packed}/CHANGELOG.md.gz
  COMMAND ${CMAKE_COMMAND} -E copy ${PROJECT_SOURCE_DIR}/CHANGELOG.md ${quant_packed}
  COMMAND gzip -9nkf ${quant_packed}/changelog ${quant_packed}/CHANGELOG.md
  DEPENDS ${quant_packed}/changelog ${PROJECT_SOURCE_DIR}/CHANGELOG.md VERBATIM)
add_custom_target(package_documents ALL
                  DEPENDS ${quant_packed}/changelog.gz ${quant_packed}/CHANGELOG.md.gz)
foreach(name changelog.gz CHANGELOG.md.gz)
  quant_debian_file(${quant_packed}/${name} /usr/share/doc/quantd RENAME ${name})
endforeach()
quant_debian_file(${quant_debian}/copyright /usr/share/doc/quantd RENAME copyright)
quant_debian_file(${quant_debian}/quantd.yaml /etc/quantd RENAME quantd.yaml)
quant_debian_file(${quant_debian}/quantd.service /lib/systemd/system
                  RENAME quantd.service)

set(CPACK_GENERATOR DEB)
set(CPACK_COMPONENTS_ALL runtime debian)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_CONTACT "quantd maintainers <maintainers@quantd.example>")
set(CPACK_DEBIAN_PACKAGE_NAME quantd)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, init-system-helpers (>= 1.54~)")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS ca-certificates)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "model quantization as a service")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Turns language models into checkpoints with
 smaller numbers that loaders read: quantd takes jobs over gRPC and keeps them
 durably, quantctl submits them, or quantizes without a server.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${quant_debian}/postinst ${quant_debian}/prerm ${quant_debian}/postrm
    ${quant_debian}/conffiles)
include(CPack)

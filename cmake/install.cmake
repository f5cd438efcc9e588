# cmake/install.cmake -- what `cmake --install` and `cpack` put where.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS omendb omenclient EXPORT omendb LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/omendb.h include/omen_client.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT omendb NAMESPACE omendb:: FILE omendb-targets.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/omendb)

configure_package_config_file(cmake/omendb-config.cmake.in ${PROJECT_BINARY_DIR}/omendb-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/omendb)
# Below 1.0 a new minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/omendb-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/omendb-config.cmake ${PROJECT_BINARY_DIR}/omendb-config-version.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/omendb)

# Relative to itself, so that it is right wherever `--prefix` or DESTDIR put it.
file(RELATIVE_PATH OMENDB_PC_TO_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
foreach(product omendb omenclient)
  configure_file(cmake/${product}.pc.in ${PROJECT_BINARY_DIR}/${product}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${product}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()

# The daemon, its unit, and a configuration to begin with.
if(TARGET omend)
  install(TARGETS omend RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(FILES deploy/systemd/omend.service DESTINATION lib/systemd/system)
  install(FILES deploy/omend.yaml DESTINATION ${CMAKE_INSTALL_DATADIR}/omendb)
  install(DIRECTORY deploy/prometheus DESTINATION ${CMAKE_INSTALL_DATADIR}/omendb)
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME omendb)
set(CPACK_PACKAGE_VENDOR "OmenDB")
set(CPACK_PACKAGE_CONTACT "the OmenDB authors <omendb@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/dist)
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
include(CPack)

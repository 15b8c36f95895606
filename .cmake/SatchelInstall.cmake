# cmake --install: the binary, a configuration to start from, the unit, the documents. What the image
# is built without is OPTIONAL.
include(GNUInstallDirs)

install(TARGETS satchel RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(FILES examples/smallest/rules.yaml deploy/systemd/satchel.service
  DESTINATION "${CMAKE_INSTALL_DATADIR}/satchel" OPTIONAL)
install(FILES README.md CHANGELOG.md LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}" OPTIONAL)
install(DIRECTORY examples DESTINATION "${CMAKE_INSTALL_DOCDIR}" USE_SOURCE_PERMISSIONS OPTIONAL
  FILES_MATCHING PATTERN "*.yaml" PATTERN "*.md" PATTERN "*.sh" PATTERN "*.py")

# cmake --install: the binary, a configuration to start from, the documents.
include(GNUInstallDirs)

if(TARGET satchel)
  install(TARGETS satchel RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
if(EXISTS "${PROJECT_SOURCE_DIR}/deploy/satchel.yaml")
  install(FILES deploy/satchel.yaml DESTINATION "${CMAKE_INSTALL_SYSCONFDIR}/satchel")
endif()
foreach(document README.md CHANGELOG.md LICENSE)
  if(EXISTS "${PROJECT_SOURCE_DIR}/${document}")
    install(FILES ${document} DESTINATION "${CMAKE_INSTALL_DOCDIR}")
  endif()
endforeach()
if(IS_DIRECTORY "${PROJECT_SOURCE_DIR}/examples")
  install(DIRECTORY examples DESTINATION "${CMAKE_INSTALL_DOCDIR}" USE_SOURCE_PERMISSIONS
    FILES_MATCHING PATTERN "*.yaml" PATTERN "*.md" PATTERN "*.sh" PATTERN "*.py")
endif()

include(GNUInstallDirs)
if(TARGET satchel)
  install(TARGETS satchel RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()

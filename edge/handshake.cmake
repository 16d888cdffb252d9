sy_library(sy_handshake ${CMAKE_CURRENT_LIST_DIR}/handshake.c ${CMAKE_CURRENT_LIST_DIR}/web_origin.c
    LINK sy_base sy_proto)

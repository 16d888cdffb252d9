sy_library(sy_frame ${CMAKE_CURRENT_LIST_DIR}/frame.c ${CMAKE_CURRENT_LIST_DIR}/outq.c
    ${CMAKE_CURRENT_LIST_DIR}/pool.c ${CMAKE_CURRENT_LIST_DIR}/slab.c
    LINK sy_base sy_proto)
sy_library(sy_server ${CMAKE_CURRENT_LIST_DIR}/certificate.c ${CMAKE_CURRENT_LIST_DIR}/files.c
    ${CMAKE_CURRENT_LIST_DIR}/flush.c
    ${CMAKE_CURRENT_LIST_DIR}/http.c ${CMAKE_CURRENT_LIST_DIR}/listener.c
    ${CMAKE_CURRENT_LIST_DIR}/lws_memory.c ${CMAKE_CURRENT_LIST_DIR}/server.c
    ${CMAKE_CURRENT_LIST_DIR}/transfer.c ${CMAKE_CURRENT_LIST_DIR}/ws.c
    LINK sy_frame sy_handshake sy_base sy_proto PkgConfig::LWS PkgConfig::UV PkgConfig::CRYPTO)

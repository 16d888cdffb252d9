sy_library(sy_token ${CMAKE_CURRENT_LIST_DIR}/token.c
    LINK sy_base sy_proto PkgConfig::CRYPTO PkgConfig::JANSSON)

# One line per fuzz target.
sy_fuzz(token LINK sy_token)
sy_fuzz(http_request LINK sy_handshake PkgConfig::JANSSON)
sy_fuzz(config LINK sy_base)
sy_fuzz(client_protobuf LINK sy_proto)
sy_fuzz(client_json LINK sy_proto)
sy_fuzz(envelope LINK sy_proto)
sy_fuzz(link_row LINK sy_proto)
sy_fuzz(ident LINK sy_proto)

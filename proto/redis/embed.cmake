# Writes OUT, a C file with each of SCRIPTS (read from DIR/<name>.lua) as a string. The line
# `-- place.lua` stands for what is in that file.
set(text "// Made by embed.cmake from proto/redis/*.lua.\n#include \"proto/scripts.h\"\n")
file(READ ${DIR}/place.lua place)
foreach(name ${SCRIPTS})
    file(READ ${DIR}/${name}.lua lua)
    string(REPLACE "\n-- place.lua\n" "\n${place}" lua "${lua}")
    string(REPLACE "\\" "\\\\" lua "${lua}")
    string(REPLACE "\"" "\\\"" lua "${lua}")
    string(REPLACE "\n" "\\n\"\n    \"" lua "${lua}")
    string(APPEND text "const char script_${name}[] =\n    \"${lua}\";\n")
endforeach()
file(WRITE ${OUT} "${text}")

# A TCP proxy that does what a bad network does (faultproxy.py).
add_executable(fault_proxy proxy.c)
target_link_libraries(fault_proxy PRIVATE sy_flags sy_warnings)
set_target_properties(fault_proxy PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)

# Lets allocations of a process fail (f24_memory.py). Never instrumented: a sanitizer has a
# malloc of its own.
add_library(failing_malloc MODULE failing_malloc.c)
target_link_libraries(failing_malloc PRIVATE sy_warnings)
target_compile_definitions(failing_malloc PRIVATE _GNU_SOURCE)
set_target_properties(failing_malloc PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY
                      ${PROJECT_BINARY_DIR}/lib)

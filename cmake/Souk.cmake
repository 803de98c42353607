# How every target of Souk is compiled, and the two functions that folders use to declare themselves.

include(CheckCCompilerFlag)

set(SOUK_SANITIZE "" CACHE STRING "Sanitizers for all targets: address,undefined or thread")

add_library(souk_flags INTERFACE)
target_compile_features(souk_flags INTERFACE c_std_11)
target_compile_definitions(souk_flags INTERFACE _GNU_SOURCE)
target_compile_options(souk_flags INTERFACE
    -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wvla
    -Wformat=2 -Wundef -Wno-unused-parameter # callbacks have the signature of their caller
    -fno-common -fstack-protector-strong -fno-omit-frame-pointer
    -fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=) # what a failed CHECK names is a place in Souk, not on the machine that built it
if(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_options(souk_flags INTERFACE -O2 -g -D_FORTIFY_SOURCE=2)
    # What makes a fault in memory harder to use: programs at places of chance (PIE), tables of the linker that are read-only once it is done, and stacks that are probed
    # page by page. package/programs looks for them. Not -fcf-protection: its marks count only if everything linked has them, and Debian's start files have none.
    # -fPIE for the layers too, which CMake would give -fPIC: that is for libraries that others load, and keeps functions from being inlined.
    set(program $<NOT:$<STREQUAL:$<TARGET_PROPERTY:TYPE>,SHARED_LIBRARY>>)
    target_compile_options(souk_flags INTERFACE $<${program}:-fPIE>)
    target_link_options(souk_flags INTERFACE $<${program}:-pie> -Wl,-z,relro,-z,now)
    check_c_compiler_flag(-fstack-clash-protection SOUK_HAS_STACK_CLASH_PROTECTION)
    if(SOUK_HAS_STACK_CLASH_PROTECTION)
        target_compile_options(souk_flags INTERFACE -fstack-clash-protection)
    endif()
endif()
if(SOUK_SANITIZE)
    target_compile_options(souk_flags INTERFACE -fsanitize=${SOUK_SANITIZE} -fno-sanitize-recover=all -O1)
    target_link_options(souk_flags INTERFACE -fsanitize=${SOUK_SANITIZE})
endif()

# souk_layer(base SOURCES a.c b.c LINKS other-layer PRIVATE_LINKS PkgConfig::X)
# A layer sees its own folder and the layers it links, nothing else: each has its own include root, so an upward include does not compile.
# What stands in PRIVATE_LINKS (third-party libraries) stays invisible to the layers above.
function(souk_layer name)
    cmake_parse_arguments(LAYER "" "" "SOURCES;LINKS;PRIVATE_LINKS" ${ARGN})
    add_library(${name} STATIC ${LAYER_SOURCES})
    target_include_directories(${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
    target_link_libraries(${name} PUBLIC souk_flags ${LAYER_LINKS} PRIVATE ${LAYER_PRIVATE_LINKS})
endfunction()

# souk_unit_test(money LINKS base) builds tests/unit/money_test.c, run by ctest as unit/money.
function(souk_unit_test name)
    cmake_parse_arguments(TEST "" "FOLDER" "SOURCES;LINKS" ${ARGN})
    if(NOT TEST_FOLDER)
        set(TEST_FOLDER unit)
    endif()
    set(target ${TEST_FOLDER}_${name}_test)
    add_executable(${target} ${CMAKE_SOURCE_DIR}/tests/${TEST_FOLDER}/${name}_test.c $<TARGET_OBJECTS:souk_test_only> ${TEST_SOURCES})
    target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests/lib)
    target_link_libraries(${target} PRIVATE souk_flags ${TEST_LINKS} PkgConfig::CMOCKA)
    add_test(NAME ${TEST_FOLDER}/${name} COMMAND ${target})
    set(seconds 300) # far more than it takes on a machine that has much else to do
    if(SOUK_SANITIZE STREQUAL thread) # that slow is it
        set(seconds 600)
    endif()
    set_tests_properties(${TEST_FOLDER}/${name} PROPERTIES TIMEOUT ${seconds})
endfunction()

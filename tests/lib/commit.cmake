# Writes OUT, a header that says which commit SOURCE is; "+" behind it: and changes. Nothing is written when it says so already.
cmake_minimum_required(VERSION 3.20)
execute_process(COMMAND git -C ${SOURCE} describe --always --abbrev=12 --dirty=+ --exclude=* OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
    set(commit "unknown")
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define SOUK_COMMIT \"@commit@\"\n" @ONLY)

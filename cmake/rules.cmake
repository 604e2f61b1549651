# The few rules that every folder uses:
#   tombolo_library(NAME SOURCES… [PUBLIC deps…] [PRIVATE deps…])   one folder, one static library
#   tombolo_test(NAME [RUNS_GRPC] SOURCES… [DEPS…])                 one Catch2 binary, listed in build/PRESET/tests.txt;
#                                                                   RUNS_GRPC: not in the preset tsan
#   tombolo_binary(NAME SOURCES… DEPS…)                             a program that ships, in build/PRESET/bin
#   tombolo_proto(NAME FILES… [GRPC])                               protobuf (and gRPC) code from schema/
#   tombolo_bpf_object(NAME SOURCE…)                                clang -target bpf, then a libbpf skeleton
#   tombolo_fuzzer(NAME SOURCES… DEPS…)                             a libFuzzer binary (preset dev), listed in build/PRESET/fuzzers.txt;
#                                                                   its seeds are in tests/corpus/NAME

option(TOMBOLO_FUZZ "build libFuzzer binaries" OFF)

add_library(tombolo_flags INTERFACE)
target_include_directories(tombolo_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
target_compile_options(tombolo_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wconversion
  -Wshadow -Werror -Wno-missing-field-initializers>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 warns about code inside its own headers when it inlines them, and takes a coroutine frame's
  # own operator delete for a mismatch.
  target_compile_options(tombolo_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-maybe-uninitialized
    -Wno-stringop-overflow -Wno-restrict -Wno-dangling-pointer -Wno-array-bounds -Wno-shadow
    -Wno-mismatched-new-delete>)
endif()
target_compile_definitions(tombolo_flags INTERFACE BOOST_ASIO_SEPARATE_COMPILATION
  BOOST_ASIO_NO_DEPRECATED SPDLOG_FMT_EXTERNAL SPDLOG_SHARED_LIB SPDLOG_COMPILED_LIB)
target_link_libraries(tombolo_flags INTERFACE Boost::headers Threads::Threads)

function(tombolo_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC tombolo_flags ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
endfunction()

function(tombolo_binary name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE tombolo_flags ${ARG_DEPS})
endfunction()

# Test binaries are run by tests/run in the order of tests.txt; TIMEOUT is in seconds (default 120).
# Debian's gRPC is built without TSan, which so misses what orders gRPC's threads and reports them for races that are
# none: in the preset tsan (TOMBOLO_TSAN) the target every_test has only the tests that do without it.
option(TOMBOLO_TSAN "leave out tests that run gRPC" OFF)
set_property(GLOBAL PROPERTY tombolo_tests "")
function(tombolo_test name)
  cmake_parse_arguments(ARG "RUNS_GRPC" "TIMEOUT" "SOURCES;DEPS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(TOMBOLO_TSAN)
    math(EXPR ARG_TIMEOUT "3 * ${ARG_TIMEOUT}")
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE tombolo_flags ${ARG_DEPS} Catch2::Catch2WithMain)
  target_compile_definitions(${name} PRIVATE
    TOMBOLO_TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data" TOMBOLO_BIN_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(TOMBOLO_TSAN AND ARG_RUNS_GRPC)
    return()
  endif()
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
  set_property(GLOBAL APPEND PROPERTY tombolo_tests "${name} ${ARG_TIMEOUT}")
  set_property(GLOBAL APPEND PROPERTY tombolo_test_targets ${name})
endfunction()

function(tombolo_write_test_list)
  get_property(tests GLOBAL PROPERTY tombolo_tests)
  string(REPLACE ";" "\n" lines "${tests}")
  file(WRITE ${CMAKE_BINARY_DIR}/tests.txt "${lines}\n")
  get_property(fuzzers GLOBAL PROPERTY tombolo_fuzzers)
  string(REPLACE ";" "\n" lines "${fuzzers}")
  file(WRITE ${CMAKE_BINARY_DIR}/fuzzers.txt "${lines}\n")
  get_property(targets GLOBAL PROPERTY tombolo_test_targets)
  add_custom_target(every_test DEPENDS ${targets})
  add_custom_target(every_fuzzer DEPENDS ${fuzzers})
endfunction()

function(tombolo_proto name)
  cmake_parse_arguments(ARG "GRPC" "" "FILES" ${ARGN})
  find_program(GRPC_PLUGIN grpc_cpp_plugin REQUIRED)
  set(generated "")
  foreach(file ${ARG_FILES})
    get_filename_component(path ${CMAKE_CURRENT_SOURCE_DIR}/${file} ABSOLUTE)
    file(RELATIVE_PATH relative ${CMAKE_SOURCE_DIR} ${path})
    string(REGEX REPLACE "\\.proto$" "" stem ${relative})
    set(out ${CMAKE_BINARY_DIR}/${stem}.pb.cc)
    set(flags --cpp_out=${CMAKE_BINARY_DIR})
    set(outputs ${out} ${CMAKE_BINARY_DIR}/${stem}.pb.h)
    if(ARG_GRPC)
      list(APPEND flags --grpc_out=${CMAKE_BINARY_DIR} --plugin=protoc-gen-grpc=${GRPC_PLUGIN})
      list(APPEND outputs ${CMAKE_BINARY_DIR}/${stem}.grpc.pb.cc ${CMAKE_BINARY_DIR}/${stem}.grpc.pb.h)
    endif()
    add_custom_command(OUTPUT ${outputs}
      COMMAND protobuf::protoc -I ${CMAKE_SOURCE_DIR} ${flags} ${path}
      DEPENDS ${path} VERBATIM)
    list(APPEND generated ${outputs})
  endforeach()
  list(FILTER generated INCLUDE REGEX "\\.cc$")
  add_library(${name} STATIC ${generated})
  # Generated code is not ours to warn about; its headers come in as system headers.
  target_include_directories(${name} SYSTEM PUBLIC ${CMAKE_BINARY_DIR})
  target_link_libraries(${name} PUBLIC protobuf::libprotobuf)
  if(ARG_GRPC)
    target_link_libraries(${name} PUBLIC PkgConfig::grpc)
  endif()
endfunction()

# NAME is the skeleton's: bpf/NAME.bpf.c -> build/bpf/NAME.skel.h, struct NAME_bpf.
function(tombolo_bpf_object name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o)
  set(skeleton ${CMAKE_CURRENT_BINARY_DIR}/${name}.skel.h)
  list(GET ARG_SOURCES 0 source)
  add_custom_command(OUTPUT ${object} ${skeleton}
    COMMAND ${BPF_CLANG} -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror
      -I ${CMAKE_SOURCE_DIR} -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
      -ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
    COMMAND ${BPFTOOL} gen skeleton ${object} name ${name}_bpf > ${skeleton}
    DEPENDS ${ARG_SOURCES} ${ARG_DEPENDS} VERBATIM)
  add_custom_target(${name}_bpf_build DEPENDS ${skeleton})
  add_library(${name}_bpf INTERFACE)
  add_dependencies(${name}_bpf ${name}_bpf_build)
  target_include_directories(${name}_bpf SYSTEM INTERFACE ${CMAKE_BINARY_DIR})
  target_link_libraries(${name}_bpf INTERFACE PkgConfig::libbpf)
endfunction()

function(tombolo_fuzzer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  if(NOT TOMBOLO_FUZZ)
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE tombolo_flags ${ARG_DEPS})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  set_property(GLOBAL APPEND PROPERTY tombolo_fuzzers ${name})
endfunction()

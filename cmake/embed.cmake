# Writes text files into a C++ source: cmake -DOUT=FILE -DNAME=FUNCTION -DFILES=a;b -P embed.cmake
# gives `std::string_view FUNCTION(std::string_view name)`, the text of a file by its name without ending, empty for others.
set(code "// Written by cmake/embed.cmake.\n#include <string_view>\n\nnamespace tombolo {\nstd::string_view ${NAME}(std::string_view name);\nstd::string_view ${NAME}(std::string_view name) {\n")
foreach(file ${FILES})
  get_filename_component(stem ${file} NAME_WE)
  file(READ ${file} text)
  string(APPEND code "  if (name == \"${stem}\") return R\"embedded(${text})embedded\";\n")
endforeach()
string(APPEND code "  return {};\n}\n}  // namespace tombolo\n")
file(WRITE ${OUT} "${code}")

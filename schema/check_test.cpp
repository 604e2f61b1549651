// Runs schema/check: the schemas keep what schema/baseline/ promises, and the check catches every
// kind of break.
#include <sys/wait.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <string>

namespace {

struct Outcome {
  int code = -1;
  std::string text;
};

Outcome check(const std::string& argument) {
  std::string command = "python3 " TOMBOLO_TEST_DATA "/../../schema/check " + argument + " 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  Outcome outcome;
  std::array<char, 4096> part{};
  while (std::fgets(part.data(), part.size(), pipe) != nullptr) outcome.text += part.data();
  outcome.code = WEXITSTATUS(::pclose(pipe));
  return outcome;
}

TEST_CASE("the schemas keep what was promised") {
  Outcome outcome = check("");
  INFO(outcome.text);
  REQUIRE(outcome.code == 0);
}

TEST_CASE("the check catches every kind of break") {
  Outcome outcome = check("--self-test");
  INFO(outcome.text);
  REQUIRE(outcome.code == 0);
  REQUIRE(outcome.text.find(" changes, 0 judged wrongly") != std::string::npos);
}

}  // namespace

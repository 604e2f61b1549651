// Programs that the tests of this folder run. Only tests include this.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/yaml.h"

namespace tombolo {

// A folder in /tmp that is gone with the object.
class Folder {
 public:
  Folder() {
    char name[] = "/tmp/tombolo-export-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string write(const std::string& name, const std::string& text) const {
    std::string file = path_ + "/" + name;
    std::ofstream(file) << text;
    return file;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::string installed(const std::string& name) {
  for (const char* folder : {"/usr/bin/", "/usr/sbin/", "/usr/local/bin/"})
    if (::access((folder + name).c_str(), X_OK) == 0) return folder + name;
  return "";
}

struct Outcome {
  int code = -1;
  std::string text;  // both outputs
};

// Starts the program with both outputs in FOLDER/NAME. The caller waits for it.
inline pid_t start(const Folder& folder, std::vector<std::string> arguments,
                   const std::string& name, const std::string& input = "") {
  std::string in = folder.write(name + ".in", input);
  std::string out = folder.path() + "/" + name;
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addchdir_np(&files, folder.path().c_str());
  posix_spawn_file_actions_addopen(&files, 0, in.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::string home = "HOME=" + folder.path();
  std::string search = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  char* environment[] = {home.data(), search.data(), nullptr};
  pid_t child = 0;
  int error = ::posix_spawn(&child, argv[0], &files, nullptr, argv.data(), environment);
  posix_spawn_file_actions_destroy(&files);
  REQUIRE(error == 0);
  return child;
}

inline Outcome run(const Folder& folder, std::vector<std::string> arguments,
                   const std::string& input = "") {
  pid_t child = start(folder, std::move(arguments), "output", input);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1,
          read_file(folder.path() + "/output").value()};
}

}  // namespace tombolo

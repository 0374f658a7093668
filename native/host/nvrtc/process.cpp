#include "process.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace mamba_host {

Outcome run_program(const std::vector<std::string>& command)
{
    std::vector<char*> arguments;
    for (const std::string& argument : command) {
        arguments.push_back(const_cast<char*>(argument.c_str()));
    }
    arguments.push_back(nullptr);

    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return {127, std::strerror(errno)};
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    pid_t process;
    int problem = posix_spawnp(&process, arguments[0], &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);

    Outcome outcome{127, problem != 0 ? command[0] + ": " + std::strerror(problem) + "\n" : ""};
    char buffer[4096];
    for (ssize_t length; problem == 0 && ((length = read(ends[0], buffer, sizeof buffer)) > 0 || (length < 0 && errno == EINTR));) {
        outcome.output.append(buffer, static_cast<std::size_t>(length > 0 ? length : 0));
    }
    close(ends[0]);
    int status = 0;
    while (problem == 0 && waitpid(process, &status, 0) < 0) {
        if (errno != EINTR) {
            // A runtime that collects all children may have been faster; the program is judged by what it left.
            return {0, outcome.output};
        }
    }
    if (problem == 0) {
        outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return outcome;
}

}  // namespace mamba_host

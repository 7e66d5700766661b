// hpo/pool.hpp, also built under the thread sanitizer.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "check.hpp"
#include "hpo/pool.hpp"

#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace {

// Runs n tasks that each write their square, and checks that each ran once and no worker twice at a time.
void squares(int threads, std::int64_t n) {
  std::vector<std::int64_t> out(static_cast<std::size_t>(n), 0);
  std::vector<std::atomic<int>> busy(static_cast<std::size_t>(threads));
  std::atomic<bool> shared{false};
  hpo::parallel_for(threads, n, [&](std::int64_t task, int worker) {
    if (worker < 0 || worker >= threads || busy[static_cast<std::size_t>(worker)].exchange(1) != 0) shared = true;
    out[static_cast<std::size_t>(task)] += task * task;
    busy[static_cast<std::size_t>(worker)] = 0;
  });
  CHECK(!shared);
  for (std::int64_t i = 0; i < n; ++i) CHECK(out[static_cast<std::size_t>(i)] == i * i);
}

}  // namespace

TEST(pool_runs_every_task_once) {
  for (int threads : {1, 2, 4, 9})
    for (std::int64_t n : {0, 1, 2, 3, 100, 1000}) squares(threads, n);
}

TEST(pool_many_short_regions) {
  for (int i = 0; i < 5000; ++i) {
    std::int64_t sum[3] = {0, 0, 0};
    hpo::parallel_for(3, 3, [&](std::int64_t task, int) { sum[task] = task + i; });
    CHECK(sum[0] == i && sum[1] == i + 1 && sum[2] == i + 2);
  }
}

TEST(pool_threads_take_part_after_sleep) {
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  // Each of two tasks waits for the other, so the region ends only if two threads run it.
  std::atomic<int> here{0};
  hpo::parallel_for(2, 2, [&](std::int64_t, int) {
    ++here;
    while (here < 2) std::this_thread::yield();
  });
  CHECK(here == 2);
}

TEST(pool_nested_is_serial) {
  std::atomic<int> count{0};
  std::atomic<bool> moved{false};
  hpo::parallel_for(4, 8, [&](std::int64_t, int) {
    const auto self = std::this_thread::get_id();
    hpo::parallel_for(4, 8, [&](std::int64_t, int worker) {
      if (std::this_thread::get_id() != self || worker != 0) moved = true;
      ++count;
    });
  });
  CHECK(count == 64 && !moved);
}

TEST(pool_concurrent_callers) {
  std::vector<std::thread> callers;
  std::atomic<int> failures{0};
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      try {
        for (int i = 0; i < 200; ++i) squares(3, 20);
      } catch (const std::exception&) {
        ++failures;
      }
    });
  }
  for (std::thread& t : callers) t.join();
  CHECK(failures == 0);
}

TEST(pool_rethrows_the_lowest_task) {
  for (int threads : {1, 3}) {
    std::atomic<int> ran{0};
    std::string what;
    try {
      hpo::parallel_for(threads, 50, [&](std::int64_t task, int) {
        ++ran;
        if (task % 7 == 3) throw std::runtime_error(std::to_string(task));
      });
    } catch (const std::runtime_error& error) {
      what = error.what();
    }
    CHECK(what == "3" && ran == 50);
    squares(threads, 10);  // and the pool still works
  }
}

TEST(pool_default_threads) {
#ifndef _WIN32
  const char* before = std::getenv("HPO_FAST_NUM_THREADS");
  const std::string kept = before ? before : "";
  setenv("HPO_FAST_NUM_THREADS", "3", 1);
  CHECK(hpo::default_threads() == 3);
  for (const char* bad : {"0", "-1", "two", "2.5", "99999999999999999999"}) {
    setenv("HPO_FAST_NUM_THREADS", bad, 1);
    CHECK_THROWS(hpo::default_threads(), std::invalid_argument);
  }
  unsetenv("HPO_FAST_NUM_THREADS");
  CHECK(hpo::default_threads() >= 1);
  if (before) setenv("HPO_FAST_NUM_THREADS", kept.c_str(), 1);
#endif
}

#if !defined(_WIN32) && !defined(__SANITIZE_THREAD__)  // the thread sanitizer ends a child that starts threads
TEST(pool_survives_fork) {
  squares(3, 50);  // the parent has threads
  std::atomic<bool> stop{false};
  std::atomic<std::int64_t> done{0};
  std::thread busy([&] {  // and is inside a region, most of the time, when it forks
    while (!stop) hpo::parallel_for(3, 50, [&](std::int64_t, int) { ++done; });
  });
  // From here on no thread of the parent allocates: a sanitizer's allocator that one of them has locked, as while it
  // starts, would stay locked in the child.
  while (done < 10000) std::this_thread::yield();
  for (int i = 0; i < 10; ++i) {
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      alarm(20);  // a hanging child must not hang the test
      int code = 0;
      try {
        squares(3, 50);
        std::atomic<int> here{0};
        hpo::parallel_for(2, 2, [&](std::int64_t, int) {
          ++here;
          while (here < 2) std::this_thread::yield();
        });
      } catch (...) {
        code = 1;
      }
      _exit(code);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (!(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
      stop = true;
      busy.join();
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  stop = true;
  busy.join();
  squares(3, 50);
}
#endif

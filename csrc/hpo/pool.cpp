#include "pool.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#ifndef _WIN32
#include <pthread.h>
#endif
#ifdef __linux__
#include <sched.h>
#endif
#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
#include <intrin.h>
#endif

namespace hpo {
namespace {

void relax() {
#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
  _mm_pause();
#elif defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Longer than the serial part between two regions of one algorithm, shorter than anybody notices on a shared machine.
constexpr std::chrono::microseconds kSpin{20};
constexpr int kPausesPerClock = 64;

// Spins until `ready` or the time is over; says which.
template <class Ready>
bool spin(Ready ready) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < kPausesPerClock; ++i) {
      if (ready()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

thread_local bool inside_region = false;

class Pool {
 public:
  // False when another region is running: the caller then works alone.
  bool try_run(int n_threads, std::int64_t n_tasks, pool_detail::TaskRef task) {
    std::unique_lock<std::mutex> lock(region_, std::try_to_lock);
    if (!lock.owns_lock() || stopped_) return false;
    const int helpers = grow(static_cast<int>(std::min<std::int64_t>(n_threads, n_tasks)) - 1);
    if (helpers == 0) return false;

    task_ = task;
    n_tasks_ = n_tasks;
    next_.store(0, std::memory_order_relaxed);
    finished_.store(0, std::memory_order_relaxed);
    error_ = nullptr;
    ++epoch_;
    open(static_cast<std::uint64_t>(helpers));
    work(0);
    // Close the gate: who has not come in by now stays out, so a sleeping thread never delays the end.
    const std::uint64_t left = gate_.exchange(epoch_ << kSlotBits) & kSlotMask;
    const int joined = helpers - static_cast<int>(left);
    const auto all_finished = [&] { return finished_.load(std::memory_order_acquire) == joined; };
    if (!spin(all_finished))
      while (!all_finished()) std::this_thread::yield();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    return true;
  }

  void stop() {
    const std::lock_guard<std::mutex> lock(region_);
    stopped_ = true;
    {
      const std::lock_guard<std::mutex> sleep(sleep_);
      stopping_.store(true);
    }
    wake_.notify_all();
    for (std::thread& t : threads_) t.join();
    threads_.clear();
  }

 private:
  // gate_ holds the region's number and how many more threads may join it. Joining takes one slot by compare-and-swap,
  // and only a thread that took one reads the region's fields; so fields never change under a reader.
  static constexpr int kSlotBits = 16;
  static constexpr std::uint64_t kSlotMask = (1u << kSlotBits) - 1;
  static constexpr int kMaxHelpers = 1023;

  int grow(int wanted) {
    wanted = std::min(wanted, kMaxHelpers);
    try {
      while (static_cast<int>(threads_.size()) < wanted) threads_.emplace_back([this] { loop(); });
    } catch (const std::system_error&) {  // the system gives no more threads: go on with those there are
    }
    return std::min(wanted, static_cast<int>(threads_.size()));
  }

  void open(std::uint64_t slots) {
    gate_.store(epoch_ << kSlotBits | slots);
    // Sequentially consistent with loop(): either it sees the open gate before it sleeps, or this sees that it sleeps.
    if (sleepers_.load() > 0) {
      {
        const std::lock_guard<std::mutex> lock(sleep_);
      }
      wake_.notify_all();
    }
  }

  void loop() {
    inside_region = true;  // a task that calls parallel_for runs it serially
    std::uint64_t seen = 0;
    for (;;) {
      std::uint64_t gate = 0;
      const auto ready = [&] {
        gate = gate_.load();
        return ((gate & kSlotMask) != 0 && gate >> kSlotBits != seen) || stopping_.load(std::memory_order_relaxed);
      };
      if (!spin(ready)) {
        std::unique_lock<std::mutex> lock(sleep_);
        sleepers_.fetch_add(1);
        wake_.wait(lock, ready);
        sleepers_.fetch_sub(1);
      }
      if (stopping_.load()) return;
      if (!gate_.compare_exchange_strong(gate, gate - 1)) continue;
      seen = gate >> kSlotBits;
      work(static_cast<int>(gate & kSlotMask));
      finished_.fetch_add(1, std::memory_order_release);
    }
  }

  void work(int worker) {
    for (;;) {
      const std::int64_t task = next_.fetch_add(1, std::memory_order_relaxed);
      if (task >= n_tasks_) return;
      try {
        task_.call(task_.object, task, worker);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(error_mutex_);
        if (!error_ || task < error_task_) {
          error_ = std::current_exception();
          error_task_ = task;
        }
      }
    }
  }

  std::mutex region_;  // held for the length of a region
  std::vector<std::thread> threads_;
  bool stopped_ = false;

  pool_detail::TaskRef task_{nullptr, nullptr};
  std::int64_t n_tasks_ = 0;
  std::uint64_t epoch_ = 0;
  std::mutex error_mutex_;
  std::exception_ptr error_;
  std::int64_t error_task_ = 0;

  // Each on a cache line of its own: all threads hammer on the first two.
  alignas(64) std::atomic<std::uint64_t> gate_{0};
  alignas(64) std::atomic<std::int64_t> next_{0};
  alignas(64) std::atomic<int> finished_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false};
  std::mutex sleep_;
  std::condition_variable wake_;
};

// Never deleted: a thread that outlives static destruction may still look at it, and a forked child cannot destroy
// threads that it does not have.
std::atomic<Pool*> the_pool{nullptr};

Pool& pool() {
  Pool* p = the_pool.load(std::memory_order_acquire);
  if (p != nullptr) return *p;
  auto fresh = std::make_unique<Pool>();
  if (the_pool.compare_exchange_strong(p, fresh.get(), std::memory_order_acq_rel)) return *fresh.release();
  return *p;  // somebody else was first
}

#ifndef _WIN32
// Only the forking thread lives on in the child, and the pool's mutexes may be held by threads that are gone.
// Registered when the library is loaded: a lazy registration could itself be cut in half by a fork.
[[maybe_unused]] const int fork_handler =
    pthread_atfork(nullptr, nullptr, [] { the_pool.store(nullptr, std::memory_order_relaxed); });

// Not on Windows, where threads are gone before a library's destructors run and joining them would hang.
struct AtExit {
  ~AtExit() {
    if (Pool* p = the_pool.load(std::memory_order_acquire)) p->stop();
  }
};
const AtExit at_exit;
#endif

void run_serially(std::int64_t n_tasks, pool_detail::TaskRef task) {
  std::exception_ptr error;
  for (std::int64_t i = 0; i < n_tasks; ++i) {
    try {
      task.call(task.object, i, 0);
    } catch (...) {
      if (!error) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

#ifdef __linux__
// CPUs of one cpu.max ("200000 100000" or "max 100000"), 0 for no limit.
int quota_of(const std::string& file) {
  std::ifstream in(file);
  std::string quota;
  double period = 0.0;
  if (!(in >> quota >> period) || quota == "max" || !(period > 0.0)) return 0;
  const double cpus = std::strtod(quota.c_str(), nullptr) / period;
  return cpus > 0.0 ? std::max(1, static_cast<int>(cpus + 0.999)) : 0;
}

int cgroup_quota() {
  int best = 0;
  const auto limit = [&](int cpus) {
    if (cpus > 0) best = best == 0 ? cpus : std::min(best, cpus);
  };
  // Version 2: the line "0::/path"; every ancestor's limit holds too.
  std::ifstream in("/proc/self/cgroup");
  std::string line, path;
  while (std::getline(in, line))
    if (line.compare(0, 3, "0::") == 0) path = line.substr(3);
  for (;;) {
    limit(quota_of("/sys/fs/cgroup" + (path == "/" ? std::string() : path) + "/cpu.max"));
    if (path.empty() || path == "/") break;
    path.erase(path.rfind('/'));
  }
  // Version 1, as a container sees it.
  std::ifstream quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  double q = 0.0, p = 0.0;
  if (quota >> q && period >> p && q > 0.0 && p > 0.0) limit(std::max(1, static_cast<int>(q / p + 0.999)));
  return best;
}
#endif

}  // namespace

int default_threads() {
  if (const char* text = std::getenv("HPO_FAST_NUM_THREADS"); text != nullptr && *text != '\0') {
    char* end = nullptr;
    errno = 0;
    const long n = std::strtol(text, &end, 10);
    if (*end != '\0' || errno != 0 || n < 1 || n > 1024)
      throw std::invalid_argument("HPO_FAST_NUM_THREADS must be a whole number from 1 to 1024, but is '" +
                                  std::string(text) + "'; correct it or unset it.");
    return static_cast<int>(n);
  }
  int cpus = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#ifdef __linux__
  cpu_set_t set;  // fails where the machine has more than 1024 CPUs; the count above then stands
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = std::max(1, CPU_COUNT(&set));
  if (const int quota = cgroup_quota(); quota > 0) cpus = std::min(cpus, quota);
#endif
  return cpus;
}

namespace pool_detail {

void run(int n_threads, std::int64_t n_tasks, TaskRef task) {
  if (n_threads > 1 && n_tasks > 1 && !inside_region) {
    inside_region = true;
    struct Leave {
      ~Leave() { inside_region = false; }
    } leave;
    if (pool().try_run(n_threads, n_tasks, task)) return;
    return run_serially(n_tasks, task);
  }
  run_serially(n_tasks, task);
}

}  // namespace pool_detail
}  // namespace hpo

"""The Gaussian process on the processor: the handle of backends/base.py around csrc/hpo/gp.hpp.

Checks shapes and types, allocates what is returned and releases the GIL; one verb, one crossing.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.memory cimport unique_ptr
from libcpp.vector cimport vector

import os
import threading

import numpy as np

from hpo_fast.backends.base import EXACT_BELOW, Fit, Maximum
from hpo_fast.errors import BackendUnavailable

cdef extern from *:
    """
    #include "hpo/span.hpp"

    // A numerical_error becomes a NumericalError with its row; Cython's own table serves the standard exceptions.
    static void hpo_translate() {
      try {
        throw;
      } catch (const hpo::numerical_error& error) {
        PyObject* module = PyImport_ImportModule("hpo_fast.errors");
        PyObject* type = module ? PyObject_GetAttrString(module, "NumericalError") : nullptr;
        PyObject* value = type ? PyObject_CallFunction(type, "sL", error.what(), (long long)error.row) : nullptr;
        if (value) PyErr_SetObject(type, value);
        Py_XDECREF(value);
        Py_XDECREF(type);
        Py_XDECREF(module);
      } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
      } catch (const std::invalid_argument& error) {
        PyErr_SetString(PyExc_ValueError, error.what());
      } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
      }
    }
    """
    void hpo_translate()

cdef extern from "hpo/span.hpp" namespace "hpo" nogil:
    cdef cppclass Vec[T]:
        T* data
        int64_t n
    cdef cppclass Mat[T]:
        T* data
        int64_t rows
        int64_t cols

cdef extern from "hpo/kernels.hpp" namespace "hpo" nogil:
    cdef enum class Kernel(int):
        matern52
        matern32
        rbf
    cdef cppclass Kernels:
        const char* name
    const Kernels& kernels() except +hpo_translate

cdef extern from "hpo/pool.hpp" namespace "hpo" nogil:
    int default_threads() except +hpo_translate

cdef extern from "hpo/layout.hpp" namespace "hpo" nogil:
    cdef cppclass LayoutArrays:
        int64_t d
        int64_t b
        Vec[const int64_t] start
        Vec[const int32_t] kind
        Vec[const int64_t] size
        Vec[const double] low
        Vec[const double] log_low
        Vec[const double] log_high
        Vec[const int64_t] order
        Vec[const int64_t] cond_child
        Vec[const int64_t] cond_parent
        Vec[const int64_t] cond_start
        Vec[const double] cond_lo
        Vec[const double] cond_hi

cdef extern from "hpo/rng.hpp" namespace "hpo" nogil:
    cdef cppclass Key:
        uint64_t seed
        uint64_t number

cdef extern from "hpo/acquisition.hpp" namespace "hpo" nogil:
    cdef enum class UtilityKind(int):
        log_ei
        ei
        log_pi
        pi
        ucb
    cdef cppclass Utility:
        UtilityKind kind
        double beta
        double best

cdef extern from "hpo/gp.hpp" namespace "hpo" nogil:
    cdef enum class Surrogate(int):
        exact
        vecchia
        automatic
    cdef cppclass GpConfig:
        Surrogate surrogate
        int64_t exact_below
        Kernel kind
        cbool standardise
        cbool constant_mean
        cbool prior
        cbool fixed_noise
        double noise
        double[3] lower
        double[3] upper
        int threads
        void raw_bounds()
    cdef cppclass FitResult:
        double log_likelihood
        double log_posterior
    cdef cppclass MaximumResult:
        vector[double] U
        vector[double] values
        vector[double] mean
        vector[double] var
        vector[double] optima
        int64_t n_optima
    cdef cppclass GP "hpo::GaussianProcess":
        GP(const LayoutArrays&, const GpConfig&) except +hpo_translate
        cbool is_local()
        int64_t n()
        int64_t d()
        int64_t b()
        const vector[double]& theta()
        double shift()
        double scale()
        void append(Mat[const double], Vec[const double], Vec[const double]) except +hpo_translate
        void truncate(int64_t) except +hpo_translate
        void set_theta(Vec[const double], int64_t) except +hpo_translate
        void begin_refit(int64_t, int64_t) except +hpo_translate
        double advance_refit(double) except +hpo_translate
        double refit_work(int64_t, int64_t)
        FitResult finish_refit() except +hpo_translate
        FitResult refit() except +hpo_translate
        double log_likelihood(Vec[const double], double*, cbool) except +hpo_translate
        void predict(Mat[const double], double*, double*, double*, double*) except +hpo_translate
        void score(Utility, Mat[const double], double*) except +hpo_translate
        double incumbent() except +hpo_translate
        void sample(Mat[const double], int64_t, Key, double*) except +hpo_translate
        MaximumResult maximise(Utility, int64_t, Mat[const double], Key, Mat[const double], cbool) except +hpo_translate

cdef dict KERNELS = {"matern52": 0, "matern32": 1, "rbf": 2}
cdef dict SURROGATES = {"exact": 0, "vecchia": 1, "auto": 2}
cdef dict UTILITIES = {"log_ei": 0, "ei": 1, "log_pi": 2, "pi": 3, "ucb": 4}


def simd():
    """The instruction set whose kernels run here: "v2", "v3" or "v4" of x86-64, or "base" elsewhere."""
    return kernels().name.decode()


def n_threads_by_default():
    """Threads of a handle made without n_threads: HPO_FAST_NUM_THREADS, or the processors this process may use."""
    return default_threads()


try:
    simd()
except RuntimeError as error:
    raise BackendUnavailable(str(error)) from None


cdef Vec[const double] _vec(const double[::1] x) noexcept nogil:
    cdef Vec[const double] view
    view.n = x.shape[0]
    view.data = &x[0] if x.shape[0] else NULL
    return view


cdef Vec[const int64_t] _vec64(const int64_t[::1] x) noexcept nogil:
    cdef Vec[const int64_t] view
    view.n = x.shape[0]
    view.data = &x[0] if x.shape[0] else NULL
    return view


cdef Mat[const double] _mat(const double[:, ::1] X) noexcept nogil:
    cdef Mat[const double] view
    view.rows = X.shape[0]
    view.cols = X.shape[1]
    view.data = &X[0, 0] if X.shape[0] and X.shape[1] else NULL
    return view


def _matrix(name, value, rows, cols):
    """`value` as a C-contiguous float64 matrix of the shape wanted; rows None: any number."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} must hold numbers, but its dtype is {array.dtype}; convert it to float64")
    if array.ndim != 2 or array.shape[1] != cols or (rows is not None and array.shape[0] != rows):
        wanted = f"({'m' if rows is None else rows}, {cols})"
        raise ValueError(f"{name} must have shape {wanted}, but got {array.shape}; one row a point")
    return np.ascontiguousarray(array, dtype=np.float64)


cdef int64_t _rows(n, name="n") except? -2:
    """n as a count of rows: what the core refuses goes there as it came, as long as it fits."""
    if not -2**62 < n < 2**62:
        raise ValueError(f"{name} must be a number of rows, but got {n!r}; count the observations")
    return n


cdef Utility _utility(value):
    cdef Utility utility
    utility.kind = <UtilityKind><int>UTILITIES[value.kind]
    utility.beta = value.beta
    utility.best = 0.0
    return utility


cdef Key _key(value):
    cdef Key key
    key.seed = value[0]
    key.number = value[1]
    return key


cdef object _from(const vector[double]& values, Py_ssize_t rows, Py_ssize_t cols):
    out = np.empty((rows, cols))
    cdef double[:, ::1] view = out
    cdef Py_ssize_t i, j
    for i in range(rows):
        for j in range(cols):
            view[i, j] = values[i * cols + j]
    return out


cdef class GaussianProcess:
    """The compiled Surrogate. See `hpo_fast.backends.base` for the meaning of every verb.

    Args:
        layout: the columns of a point.
        outputs: number of outputs; 1.
        kernel: "matern52", "matern32" or "rbf".
        standardise: whether values are warped and standardised, or taken as they are.
        mean: "constant" or "zero".
        noise: the noise variance, in standardised units, >= 0; None: inferred.
        prior: "default" or None.
        bounds: of "lengthscale", "variance" and "noise" in `refit`, each a pair of positive numbers.
        surrogate: "exact", "vecchia" or "auto".
        exact_below: observations from which on "auto" is "vecchia".
        n_threads: threads of the larger regions; None: HPO_FAST_NUM_THREADS, or the processors this process may use.
    """

    cdef unique_ptr[GP] gp
    cdef object lock  # one verb at a time: the GIL is not held inside
    cdef object pid

    def __cinit__(self, layout, *, outputs=1, kernel="matern52", standardise=True, mean="constant", noise=None,
                  prior="default", bounds=None, surrogate="exact", exact_below=EXACT_BELOW, n_threads=None):
        if outputs != 1:
            raise ValueError(f"outputs must be 1 in this version, but got {outputs!r}; use one handle an output")
        if kernel not in KERNELS:
            raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, but got {kernel!r}; choose one of them")
        if mean not in ("constant", "zero"):
            raise ValueError(f'mean must be "constant" or "zero", but got {mean!r}; choose one of them')
        if prior not in ("default", None):
            raise ValueError(f'prior must be "default" or None, but got {prior!r}; choose one of them')
        if noise is not None and not 0.0 <= noise < np.inf:
            raise ValueError(f"noise must be a finite variance >= 0 or None, but got {noise!r}; None infers it")
        if surrogate not in SURROGATES:
            raise ValueError(f"surrogate must be one of {', '.join(SURROGATES)}, but got {surrogate!r}; choose one")
        if not 1 <= exact_below < 2**62:
            raise ValueError(f"exact_below must be a number of observations >= 1, but got {exact_below!r}; 1 is always")
        cdef GpConfig config
        config.surrogate = <Surrogate><int>SURROGATES[surrogate]
        config.exact_below = exact_below
        config.kind = <Kernel><int>KERNELS[kernel]
        config.standardise = standardise
        config.constant_mean = mean == "constant"
        config.prior = prior is not None
        config.fixed_noise = noise is not None
        config.noise = 0.0 if noise is None else noise
        config.threads = default_threads() if n_threads is None else n_threads
        if not standardise:
            config.raw_bounds()
        names = ("lengthscale", "variance", "noise")
        for name, pair in dict(bounds or {}).items():
            if name not in names:
                raise ValueError(f"bounds must name {', '.join(names)}, but got {name!r}; leave it out")
            low, high = pair
            if not 0.0 < low <= high < np.inf:
                raise ValueError(f"bounds[{name!r}] must be 0 < low <= high, but got {pair!r}; correct the pair")
            config.lower[names.index(name)], config.upper[names.index(name)] = low, high

        cdef LayoutArrays arrays
        cdef const int32_t[::1] kind = layout.kind
        arrays.d, arrays.b = layout.d, layout.b
        arrays.start, arrays.size, arrays.order = _vec64(layout.start), _vec64(layout.size), _vec64(layout.order)
        arrays.kind.n = kind.shape[0]
        arrays.kind.data = &kind[0] if kind.shape[0] else NULL
        arrays.low, arrays.log_low, arrays.log_high = _vec(layout.low), _vec(layout.log_low), _vec(layout.log_high)
        arrays.cond_child, arrays.cond_parent = _vec64(layout.cond_child), _vec64(layout.cond_parent)
        arrays.cond_start = _vec64(layout.cond_start)
        arrays.cond_lo, arrays.cond_hi = _vec(layout.cond_lo), _vec(layout.cond_hi)
        self.gp.reset(new GP(arrays, config))
        self.lock, self.pid = threading.Lock(), os.getpid()

    cdef object alone(self):
        """The lock of the verbs; in a forked child one that the parent's other threads do not hold for ever."""
        if os.getpid() != self.pid:
            # Tried, not asked with locked(): a thread may hold the lock at the fork and not have said so yet.
            if not self.lock.acquire(False):
                raise RuntimeError(
                    "a handle must be idle when its process is forked, but a verb was running in another thread; "
                    "make a new handle in the child"
                )
            self.lock.release()
            self.pid = os.getpid()
        return self.lock

    @property
    def n(self):
        with self.alone():
            return self.gp.get().n()

    @property
    def d(self):
        return self.gp.get().d()

    @property
    def k(self):
        return 1

    @property
    def theta(self):
        with self.alone():
            return _from(self.gp.get().theta(), 1, self.gp.get().b() + 2)

    @property
    def shift(self):
        with self.alone():
            return np.array([self.gp.get().shift()])

    @property
    def scale(self):
        with self.alone():
            return np.array([self.gp.get().scale()])

    def append(self, U, Y, noise=None):
        cdef const double[:, ::1] points = _matrix("U", U, None, self.d)
        cdef const double[::1] values = _matrix("Y", Y, points.shape[0], 1).reshape(-1)
        cdef const double[::1] known = (
            np.empty(0) if noise is None else _matrix("noise", noise, points.shape[0], 1).reshape(-1)
        )
        with self.alone(), nogil:
            self.gp.get().append(_mat(points), _vec(values), _vec(known))

    def truncate(self, n):
        cdef int64_t keep = _rows(n)
        with self.alone(), nogil:
            self.gp.get().truncate(keep)

    def begin_refit(self, n, nearest=0):
        cdef int64_t rows = _rows(n), some = _rows(nearest, "nearest")
        with self.alone(), nogil:
            self.gp.get().begin_refit(rows, some)

    def advance_refit(self, work):
        cdef double budget = work
        cdef double done
        with self.alone(), nogil:
            done = self.gp.get().advance_refit(budget)
        return done

    def refit_work(self, n, nearest=0):
        return self.gp.get().refit_work(n, nearest)

    def finish_refit(self):
        cdef FitResult result
        with self.alone():
            with nogil:
                result = self.gp.get().finish_refit()
            return self.fitted(result)

    cdef object fitted(self, FitResult result):
        theta = _from(self.gp.get().theta(), 1, self.gp.get().b() + 2)
        return Fit(theta, np.array([result.log_likelihood]), np.array([result.log_posterior]))

    def refit(self):
        cdef FitResult result
        with self.alone():
            with nogil:
                result = self.gp.get().refit()
            return self.fitted(result)

    @property
    def regime(self):
        with self.alone():
            return "vecchia" if self.gp.get().is_local() else "exact"

    def set_theta(self, theta, n=0):
        cdef const double[::1] wanted = _matrix("theta", theta, 1, self.gp.get().b() + 2).reshape(-1)
        cdef int64_t fitted = _rows(n)
        with self.alone(), nogil:
            self.gp.get().set_theta(_vec(wanted), fitted)

    def log_likelihood(self, theta, gradient=False, prior=False):
        cdef const double[::1] at = _matrix("theta", theta, 1, self.gp.get().b() + 2).reshape(-1)
        slope = np.empty((1, at.shape[0])) if gradient else None
        cdef double[:, ::1] view
        cdef double* out = NULL
        cdef cbool with_prior = prior
        cdef double value
        if gradient:
            view = slope
            out = &view[0, 0]
        with self.alone(), nogil:
            value = self.gp.get().log_likelihood(_vec(at), out, with_prior)
        return np.array([value]), slope

    def predict(self, U, gradient=False):
        cdef const double[:, ::1] points = _matrix("U", U, None, self.d)
        cdef Py_ssize_t m = points.shape[0], d = points.shape[1]
        mean, var = np.empty((m, 1)), np.empty((m, 1))
        slopes = (np.empty((m, 1, d)), np.empty((m, 1, d))) if gradient else ()
        cdef double[:, ::1] mean_view = mean, var_view = var
        cdef double[:, :, ::1] d_mean_view, d_var_view
        cdef double* d_mean = NULL
        cdef double* d_var = NULL
        if m == 0:
            return (mean, var, *slopes)
        if gradient:
            d_mean_view, d_var_view = slopes
            d_mean, d_var = &d_mean_view[0, 0, 0], &d_var_view[0, 0, 0]
        with self.alone(), nogil:
            self.gp.get().predict(_mat(points), &mean_view[0, 0], &var_view[0, 0], d_mean, d_var)
        return (mean, var, *slopes)

    def sample(self, U, n_samples, key):
        cdef const double[:, ::1] points = _matrix("U", U, None, self.d)
        cdef int64_t count = n_samples
        if count < 0:
            raise ValueError(f"n_samples must be >= 0, but got {n_samples!r}; ask for at least none")
        out = np.empty((count, points.shape[0], 1))
        cdef double[:, :, ::1] view = out
        cdef Key draw = _key(key)
        if out.size:
            with self.alone(), nogil:
                self.gp.get().sample(_mat(points), count, draw, &view[0, 0, 0])
        return out

    def score(self, utility, U):
        cdef const double[:, ::1] points = _matrix("U", U, None, self.d)
        cdef Utility what = _utility(utility)
        values = np.empty(points.shape[0])
        cdef double[::1] view = values
        if values.size:
            with self.alone(), nogil:
                self.gp.get().score(what, _mat(points), &view[0])
        return values

    def incumbent(self):
        cdef double best
        with self.alone(), nogil:
            best = self.gp.get().incumbent()
        return best

    def maximise(self, utility, q, pending, key, starts=None, avoid_known=False):
        cdef Py_ssize_t d = self.d
        cdef int64_t count = q
        if count < 1:
            raise ValueError(f"q must be >= 1, but got {q!r}; ask for at least one point")
        none = np.empty((0, d))
        cdef const double[:, ::1] waiting = none if pending is None else _matrix("pending", pending, None, d)
        cdef const double[:, ::1] carried = none if starts is None else _matrix("starts", starts, None, d)
        cdef Utility what = _utility(utility)
        cdef Key draw = _key(key)
        cdef cbool avoid = avoid_known
        cdef MaximumResult result
        with self.alone(), nogil:
            result = self.gp.get().maximise(what, count, _mat(waiting), draw, _mat(carried), avoid)
        return Maximum(
            _from(result.U, count, d), _from(result.values, count, 1)[:, 0], _from(result.mean, count, 1),
            _from(result.var, count, 1), _from(result.optima, result.n_optima, d),
        )

import numpy as np
import numpy.typing as npt

def uniforms(seed: int, numbers: npt.ArrayLike, streams: npt.ArrayLike) -> npt.NDArray[np.float64]: ...

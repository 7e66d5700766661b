// The kernels for x86-64-v4.
#define HF_NS v4
#define WIDTH 8
#define HPO_TABLE kernels_v4
#include "hpo/kernels.inc"

//go:build linux && (mips || mipsle || mips64 || mips64le)

package libaio

// sigsetSize is the size in bytes of the kernel's sigset_t, _NSIG/8. MIPS has 128 signals.
const sigsetSize = 128 / 8

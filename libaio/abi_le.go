//go:build linux && (386 || amd64 || arm || arm64 || loong64 || mips64le || mipsle || ppc64le || riscv64)

package libaio

// keyFlags is the part of struct iocb whose order depends on the byte order.
type keyFlags struct {
	key     uint32 // written by the kernel, checked by io_cancel(2)
	rwFlags int32
}

//go:build linux && (mips || mips64 || ppc64 || s390x)

package libaio

// keyFlags is the part of struct iocb whose order depends on the byte order.
type keyFlags struct {
	rwFlags int32
	key     uint32 // written by the kernel, checked by io_cancel(2)
}

package aio

import "syscall"

// O_DIRECT in the flags of [OpenFile] asks for direct, asynchronous I/O. It is syscall.O_DIRECT on
// Linux and 0, no flag, on other systems.
const O_DIRECT = syscall.O_DIRECT

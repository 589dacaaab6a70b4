module github.com/go-aio/aio/internal/aiotest/trials

go 1.26.0

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/go-aio/aio v0.0.0
	github.com/hanwen/go-fuse/v2 v2.12.1
	golang.org/x/sys v0.49.0
)

require github.com/ncw/directio v1.0.5 // indirect

replace github.com/go-aio/aio => ../../..
